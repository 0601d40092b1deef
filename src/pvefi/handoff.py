# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the kernel proper may get control, how that is recognised, and what it is given.

Linux puts itself at any multiple of kernel_alignment that KASLR likes, so every such place is watched for
the bytes that stand at the entry of the vmlinux inside the image. The same holds for the decompressor's own
entries, which tell whether it was entered.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pvefi.errors import GuestFault
from pvefi.image import Image
from pvefi.image.vmlinux import LoadSegment
from pvefi.machines.stop import Watchpoint
from pvefi.mapping import segment_mappings
from pvefi.memory import GuestMemory
from pvefi.spec.linux.boot_params import BootParams, EfiInfo
from pvefi.spec.linux.setup_data import SetupData
from pvefi.spec.linux.setup_header import LINUX64_OFFSET
from pvefi.spec.uefi.memory import MemoryDescriptor
from pvefi.verdict import ConfigurationTable, Handoff, Proof, SetupDataNode

__all__ = [
    "DECOMPRESSOR",
    "KERNEL_PROPER",
    "PVH_ENTRY",
    "KernelWatch",
    "collect",
    "kernel_watch",
    "virtual_slide",
]

KERNEL_PROPER = "startup_64"
PVH_ENTRY = "PHYS32_ENTRY"
DECOMPRESSOR = "decompressor"
_PROOF_BYTES = 48
_LEAST_ALIGNMENT = 2 << 20  # of a 64-bit kernel; boot protocols before 2.05 do not tell theirs
_FIELD = 4  # bytes; a 64-bit field's upper half never changes, the kernel stays in its top 2 GiB
_COMMAND_LINE_LIMIT = 1 << 16
_NODES_AT_MOST, _DATA_KEPT = 256, 4096
"""How long a setup_data list may be, and how many bytes of a node's data are of interest."""
_DESCRIPTORS_AT_MOST = 2048
"""Of an EFI memory map; the largest hosts have some hundreds."""


@dataclass(frozen=True)
class KernelWatch:
    """What to look for: the entry's bytes, where they were linked, and the decompressor's entries.

    `decompressor` maps an offset from the loaded kernel to the bytes there; `protected_mode_rva` is where the
    image has its own copy of the kernel as it is loaded. `segments` are those of the vmlinux.
    """

    code: bytes
    file_offset: int
    linked_address: int
    offset: int
    alignment: int
    decompressor: Mapping[int, bytes]
    protected_mode_rva: int
    segments: tuple[LoadSegment, ...] = ()

    def watchpoints(self, memory: GuestMemory, loaded_at: tuple[int, ...]) -> Iterator[Watchpoint]:
        """Yield a watchpoint for every place in `memory` where the kernel may start.

        `loaded_at` is where the image, or its protected-mode part, was loaded, aligned or not.
        """
        places = [
            at
            for block in memory.blocks
            for at in range(-(-block.address // self.alignment) * self.alignment, block.end, self.alignment)
        ]
        for place in places:
            yield Watchpoint(place + self.offset, len(self.code), self.is_kernel_proper, KERNEL_PROPER)
        for offset, code in self.decompressor.items():
            for place in {*places, *loaded_at, *(at + self.protected_mode_rva for at in loaded_at)}:
                yield Watchpoint(place + offset, len(code), code.__eq__, DECOMPRESSOR)

    def is_kernel_proper(self, found: bytes) -> bool:
        """Whether `found` is the entry's code, as linked or relocated."""
        return virtual_slide(self.code, found, self.alignment) is not None

    def proof(self, memory: GuestMemory, address: int) -> Proof:
        """Return the evidence that the code at guest physical `address` is the vmlinux's."""
        found = memory.read(address, len(self.code))
        slide = None if found == self.code else virtual_slide(self.code, found, self.alignment)
        return Proof(address, self.file_offset, self.code, found, self.linked_address, slide)


def kernel_watch(image: Image, data: bytes) -> KernelWatch | None:
    """Return what to watch for when `image`, whose file is `data`, runs; None when it is no Linux kernel."""
    if image.vmlinux is None or image.vmlinux.entry_code is None or not image.vmlinux.is_64bit:
        return None
    code = image.vmlinux.entry_code
    segment = image.vmlinux.load_segments[code.segment_index]
    first = image.vmlinux.load_segments[0]
    bzimage = image.bzimage
    start = bzimage.protected_mode_offset if bzimage else 0
    alignment = bzimage.header.kernel_alignment if bzimage else _LEAST_ALIGNMENT
    if alignment < _LEAST_ALIGNMENT or alignment & (alignment - 1):
        alignment = _LEAST_ALIGNMENT
    rva = image.pe.rva(start) if image.pe is not None else None  # None too where the headers hold it
    return KernelWatch(
        code=code.data[:_PROOF_BYTES],
        file_offset=segment.file_offset + code.segment_offset,
        linked_address=code.physical_address,
        offset=code.physical_address - first.physical_address,
        alignment=alignment,
        decompressor={
            offset: data[start + offset : start + offset + _PROOF_BYTES]
            for offset in ((0, LINUX64_OFFSET) if bzimage else ())
        },
        protected_mode_rva=start if rva is None else rva,
        segments=image.vmlinux.load_segments,
    )


def virtual_slide(linked: bytes, found: bytes, alignment: int) -> int | None:
    """Return how far `found` was relocated from `linked` in virtual addresses; None when it is other code.

    Linux relocates itself by adding one multiple of its alignment to 32-bit and 64-bit fields, or by taking
    it away (arch/x86/boot/compressed/misc.c, handle_relocations); everything else has to be equal.
    """
    return _relocated(linked, found, alignment, 0, 0) if len(linked) == len(found) else None


def _relocated(linked: bytes, found: bytes, alignment: int, at: int, slide: int) -> int | None:
    """Compare from offset `at` on, where fields before it were all relocated by `slide`, or none was."""
    while at < len(linked) and linked[at] == found[at]:
        at += 1
    if at == len(linked):
        return slide
    # A multiple of 2 MiB leaves a field's two low bytes alone: the first that differs is one of the others.
    for start in (at - 3, at - 2):
        end = start + _FIELD
        if end > len(linked):
            return slide  # a field that is cut off at the end tells nothing
        if start < 0:
            continue
        change = _change(linked[start:end], found[start:end])
        if change > 0 and change % alignment == 0 and slide in (0, change):
            whole = _relocated(linked, found, alignment, end, change)
            if whole is not None:
                return whole
    return None


def _change(linked: bytes, found: bytes) -> int:
    """Return by how much the low half of a field was relocated; 0 when it holds no address.

    Addresses lie in the gigabyte from 0xffffffff80000000 (KERNEL_IMAGE_SIZE,
    arch/x86/include/asm/page_64_types.h), and are added to; distances from there to the per-CPU area, near
    0, have them taken away.
    """
    before, after = int.from_bytes(linked, "little"), int.from_bytes(found, "little")
    match before >> 30, after >> 30:
        case 2, 2:
            return after - before
        case 1, 1:
            return before - after
        case _:
            return 0


def collect(
    memory: GuestMemory,
    registers: Mapping[str, int],
    watch: KernelWatch,
    *,
    decompressor: str,
    direct_entry: int | None,
    memory_map: tuple[MemoryDescriptor, ...],
    configuration_tables: tuple[ConfigurationTable, ...],
) -> Handoff:
    """Return what the kernel proper is given, now that the CPU stands at its startup_64.

    `direct_entry` is where an entry entered it before, None when it gets control only now.

    Linux boot.rst "64-bit Boot Protocol": "%rsi must hold the base address of the struct boot_params".
    GuestFault when that, or what it points to, is no memory.
    """
    address = registers["rsi"]
    page = memory.read(address, BootParams.SIZE)
    params = BootParams.unpack(page)
    proof = watch.proof(memory, registers["rip"])
    initrd = memoryview(b"")
    if params.ramdisk_size:
        initrd = memory.view(params.ramdisk_address, params.ramdisk_size)
    return Handoff(
        decompressor=decompressor,
        kernel_start=KERNEL_PROPER if direct_entry is None else PVH_ENTRY,
        kernel_entry=registers["rip"] if direct_entry is None else direct_entry,
        proof=proof,
        registers=registers,
        boot_params_address=address,
        boot_params=page,
        command_line=_command_line(memory, params.command_line_address),
        initrd_address=params.ramdisk_address if initrd else 0,
        initrd_size=params.ramdisk_size,
        initrd_sha256=hashlib.sha256(initrd).hexdigest() if initrd else "",
        memory_map=memory_map,
        configuration_tables=configuration_tables,
        setup_data=tuple(_setup_data(memory, params.hdr.setup_data)),
        runtime_map=_runtime_map(memory, params.efi_info),
        mapping=segment_mappings(memory, registers, watch.segments, proof.slide),
    )


def _setup_data(memory: GuestMemory, address: int) -> Iterator[SetupDataNode]:
    """Yield the nodes of the list at `address`; GuestFault where it has no end, or leads out of RAM."""
    left = _NODES_AT_MOST
    while address:
        if not left:
            raise GuestFault(f"the setup_data list has more than {_NODES_AT_MOST} nodes")
        left -= 1
        node = SetupData.unpack(memory.read(address, SetupData.SIZE))
        data = memory.read(address + SetupData.SIZE, min(node.len, _DATA_KEPT))
        yield SetupDataNode(address, node.type, node.len, data)
        address = node.next


def _runtime_map(memory: GuestMemory, efi: EfiInfo) -> tuple[MemoryDescriptor, ...]:
    """Return the EFI memory map that the kernel is given where it has virtual addresses, else nothing."""
    size = efi.efi_memdesc_size
    if not efi.efi_memmap_size or size < MemoryDescriptor.SIZE:
        return ()
    if efi.efi_memmap_size > size * _DESCRIPTORS_AT_MOST:
        raise GuestFault(f"an EFI memory map of {efi.efi_memmap_size} bytes")
    data = memory.read(efi.memory_map_address, efi.efi_memmap_size)
    given = tuple(MemoryDescriptor.unpack(data, at) for at in range(0, len(data) - size + 1, size))
    return given if any(one.virtual_start for one in given) else ()


def _command_line(memory: GuestMemory, address: int) -> str:
    if not address:
        return ""
    data = memory.read(address, min(memory.contiguous(address), _COMMAND_LINE_LIMIT))
    end = data.find(b"\0")
    if end < 0:
        raise GuestFault(f"the command line at {address:#x} has no end")
    return data[:end].decode("utf-8", "replace")
