# SPDX-License-Identifier: GPL-2.0-or-later
"""The PVH entry that a vmlinux names in its XEN_ELFNOTE_PHYS32_ENTRY: decompressor and KASLR are bypassed.

State demanded, xen/docs/misc/pvh.pandoc: protected mode, paging off, cr4 0, flat segments, tr = a 32-bit TSS
of base 0 and limit 0x67, interrupts off, ebx = hvm_start_info (xen/include/public/arch-x86/hvm/start_info.h).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from pvefi.efi.environment import Environment
from pvefi.efi.errors import EfiError
from pvefi.efi.service import Steps
from pvefi.entries.enter import enter_image
from pvefi.entries.entry import BootInfo, Entry, EntryRequest
from pvefi.entries.linux_boot import check_command_line, place, place_initrd
from pvefi.errors import UsageError
from pvefi.guest.entry_state import EntryState
from pvefi.image import EntryKind
from pvefi.image.payload import PayloadStream, PlainStream
from pvefi.image.vmlinux import LoadSegment, Vmlinux
from pvefi.memory import NamedRange
from pvefi.spec.uefi.memory import PAGE_SIZE, AllocateType, MemoryType
from pvefi.spec.xen.elfnote import XenElfNote
from pvefi.spec.xen.start_info import HvmModlistEntry
from pvefi.verdict import Verdict

__all__ = ["ENTRY"]

_CODE32, _DATA, _TSS = 0x10, 0x18, 0x20  # selectors in the trampoline's GDT
_BELOW_4_GIB = (1 << 32) - 1
_BELOW_1_GIB = (1 << 30) - 1
"""Linux 6.12 reads hvm_start_info, and all that it points to, through page tables that map one gibibyte.

arch/x86/platform/pvh/head.S; Xen and QEMU put it low anyhow.
"""
_CHUNK = 1 << 20
_SLACK = 32 << 20


def _vmlinux(request: EntryRequest) -> Vmlinux:
    assert request.image.vmlinux is not None, "the PVH entry is one of a vmlinux"
    return request.image.vmlinux


def _note(request: EntryRequest) -> int:
    entry = _vmlinux(request).xen_number(XenElfNote.PHYS32_ENTRY)
    assert entry is not None, "the PVH entry is one of a vmlinux with the note"
    return entry


def _wanted_memory(request: EntryRequest) -> int:
    return _vmlinux(request).physical_end + _SLACK


def _enter(efi: Environment, request: EntryRequest, _information: int) -> Steps[Verdict]:
    """Load the vmlinux where it was linked, build hvm_start_info, and jump to the note's entry."""
    vmlinux = _vmlinux(request)
    _load(efi, request, vmlinux)
    symbols = efi.trampoline.symbols
    state = EntryState(
        rbx=_start_info(efi, request),
        rsp=symbols["stack_top"],
        rip=_note(request),
        code_selector=_CODE32,
        data_selector=_DATA,
        bits=32,
        gdt_limit=efi.trampoline.gdt_limit,
        gdt_base=symbols["gdt"],
        tss=_TSS,
    )
    return enter_image(efi, state, vmlinux.load_segments[0].physical_address)


def _check(request: EntryRequest) -> None:
    """Refuse a note that points nowhere; UsageError."""
    if request.image.bzimage is not None:
        check_command_line(request)
    entry = _note(request)
    if not any(
        segment.physical_address <= entry < segment.physical_address + segment.file_size
        for segment in _vmlinux(request).load_segments
    ):
        raise UsageError(
            f"{request.image.path}: expected the PVH note to point into a load segment, found {entry:#x}",
            "pvefi inspect shows notes and segments",
        )
    if entry > _BELOW_4_GIB:
        raise UsageError(f"{request.image.path}: expected a PVH entry below 4 GiB, found {entry:#x}")


def _load(efi: Environment, request: EntryRequest, vmlinux: Vmlinux) -> None:
    path, payload = str(request.image.path), request.image.payload
    source = PayloadStream(path, request.data, payload) if payload else PlainStream(request.data)
    for segment in sorted(vmlinux.load_segments, key=lambda one: one.physical_address):
        _reserve(efi, segment)
    for segment in sorted(vmlinux.load_segments, key=lambda one: one.file_offset):
        for at in range(0, segment.file_size, _CHUNK):
            size = min(_CHUNK, segment.file_size - at)
            efi.physical.write(segment.physical_address + at, source.read(segment.file_offset + at, size))


def _reserve(efi: Environment, segment: LoadSegment) -> None:
    """Take the segment's pages, but for those that the one before it has taken in part."""
    start = segment.physical_address // PAGE_SIZE * PAGE_SIZE
    end = segment.physical_address + segment.memory_size
    before = efi.pages.span_at(start)
    if before is not None and before.name == "kernel":
        start = before.end
    if end > start:
        pages = -(-(end - start) // PAGE_SIZE)
        try:
            efi.pages.allocate(AllocateType.ADDRESS, MemoryType.LOADER_CODE, pages, start, name="kernel")
        except EfiError as error:
            raise UsageError(
                f"expected free memory at {start:#x}-{end - 1:#x}, where the kernel was linked, "
                f"found: {error.why}",
                "pvefi's own ranges begin at 8 MiB; where memory ends before, give a larger --memory",
            ) from error
    efi.physical.fill(segment.physical_address, segment.memory_size)
    efi.ranges.append(NamedRange("kernel", segment.physical_address, segment.memory_size))


def _start_info(efi: Environment, request: EntryRequest) -> int:
    initrd, initrd_size = place_initrd(efi, below=_BELOW_4_GIB)
    text = (request.command_line or efi.start.command_line).encode()
    memory_map = b"".join(entry.pack() for entry in efi.start.memory_map)
    low = partial(place, efi, below=_BELOW_1_GIB)
    module = HvmModlistEntry(paddr=initrd, size=initrd_size)
    info = replace(
        efi.start.info,
        nr_modules=1 if initrd_size else 0,
        modlist_paddr=low("module list", module.pack()) if initrd_size else 0,
        cmdline_paddr=low("command line", text + b"\0"),
        memmap_paddr=low("memory map", memory_map),
        memmap_entries=len(efi.start.memory_map),
        version=1,
    )
    return low("hvm_start_info", info.pack())


ENTRY = Entry(EntryKind.PVH, 32, _enter, _wanted_memory, (BootInfo.NONE,), _check, kernel_entry=_note)
