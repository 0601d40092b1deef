# SPDX-License-Identifier: GPL-2.0-or-later
"""Finds the ways into an image: each with its address, the state it demands, and the path it takes.

The path is two facts: what happens to the decompressor in a bzImage, and where the kernel proper is entered.
What only running the image can tell is said to be so.
"""

from __future__ import annotations

from collections.abc import Iterator

from pvefi.image.bzimage import BzImage
from pvefi.image.model import AddressKind, Decompressor, Entry, EntryKind
from pvefi.image.pe import PeImage
from pvefi.image.vmlinux import Vmlinux
from pvefi.spec.linux.setup_header import HANDOVER_64_OFFSET, JUMP_OFFSET, LINUX64_OFFSET, LoadFlag, XLoadFlag
from pvefi.spec.pe import Machine
from pvefi.spec.xen.elfnote import XenElfNote

__all__ = ["find_entries"]

_STUB_REMARK = (
    "stubs of today (6.6, 6.1.y, ...) decompress before ExitBootServices and jump to the kernel proper; "
    "older ones go on through the decompressor"
)
_EFI_STATE: dict[Machine, tuple[tuple[str, ...], str]] = {
    Machine.AMD64: (
        (
            "64-bit mode, paging on, all memory of the memory map identity mapped",
            "rcx: image handle; rdx: EFI system table",
            "128 KiB of stack, 16-byte aligned; interrupts on; direction flag clear",
        ),
        "UEFI 2.10 §2.3.4",
    ),
    Machine.I386: (
        (
            "32-bit protected mode, flat segments, paging off or identity mapped",
            "on the stack: image handle, EFI system table",
            "128 KiB of stack; interrupts on; direction flag clear",
        ),
        "UEFI 2.10 §2.3.2",
    ),
}
_HANDOVER_STATE = (
    "the PE image loaded as its headers say, boot services on",
    "{arguments}: image handle, EFI system table, boot_params",
    "boot_params filled: hdr.cmd_line_ptr, hdr.ramdisk_image, hdr.ramdisk_size, all else zero",
)
_LINUX16_STATE = (
    "16-bit real mode, interrupts off, BIOS services",
    "ds = es = fs = gs = ss: the setup code's segment; cs: that + 0x20, ip 0; sp: top of heap",
    "setup header filled by the loader; protected-mode code at code32_start",
)
_LINUX32_STATE = (
    "32-bit protected mode, paging off, interrupts off",
    "cs 0x10, ds = es = ss 0x18, flat 4 GiB descriptors in the GDT",
    "esi: boot_params; ebp, edi, ebx: 0",
)
_LINUX64_STATE = (
    "64-bit mode, interrupts off; kernel (init_size), boot_params, command line identity mapped",
    "cs 0x10, ds = es = ss 0x18, flat 4 GiB descriptors in the GDT",
    "rsi: boot_params",
)
_PVH_STATE = (
    "the ELF's load segments at their physical addresses",
    "32-bit protected mode, cr0 only PE, cr4 0; flat cs, ds, es, ss; tr: a 32-bit TSS; IF, TF, VM 0",
    "ebx: hvm_start_info",
)
_XEN_PV_STATE = (
    "a Xen PV domain: page tables, physical-to-machine map and shared info built by the domain builder",
    "rsi: start_info; rsp: the stack that Xen gives; interrupts off",
)


def find_entries(pe: PeImage | None, bzimage: BzImage | None, vmlinux: Vmlinux | None) -> tuple[Entry, ...]:
    """Return the entries of an image with these parts, those of EFI first."""
    found: list[Entry] = []
    if pe is not None:
        found += _efi(pe, bzimage, vmlinux)
    if bzimage is not None:
        found += _handover(bzimage, vmlinux) if pe is not None else ()
        found += _linux(bzimage, vmlinux)
    if vmlinux is not None:
        found += _xen(bzimage, vmlinux)
    return tuple(found)


def _compressed(bzimage: BzImage | None) -> bool:
    """Whether there is a decompressor: memtest86+ and iPXE have the header, but no payload."""
    return bzimage is not None and bool(bzimage.header.payload_length)


def _kernel_entry(bzimage: BzImage | None, vmlinux: Vmlinux | None) -> str:
    if vmlinux is None:
        return "unknown: the kernel proper is not readable" if _compressed(bzimage) else ""
    return "startup_64" if vmlinux.is_64bit else "startup_32"


def _efi(pe: PeImage, bzimage: BzImage | None, vmlinux: Vmlinux | None) -> Iterator[Entry]:
    compressed = _compressed(bzimage)
    places = [(pe.machine, pe.entry_rva)] if pe.entry_rva and pe.subsystem.is_efi else []
    places += [(compat.machine, compat.entry_rva) for compat in pe.compat]
    for machine, rva in places:
        if machine not in _EFI_STATE:
            continue
        demands, source = _EFI_STATE[machine]
        yield Entry(
            kind=EntryKind.EFI if machine is Machine.AMD64 else EntryKind.EFI32,
            bits=64 if machine is Machine.AMD64 else 32,
            address=rva,
            address_kind=AddressKind.RVA,
            file_offset=pe.file_offset(rva),
            demands=demands,
            source=source,
            decompressor=Decompressor.UNTOLD if compressed else Decompressor.NONE,
            kernel_entry=_kernel_entry(bzimage, vmlinux),
            remark=_STUB_REMARK if compressed else "",
        )


def _handover(bzimage: BzImage, vmlinux: Vmlinux | None) -> Iterator[Entry]:
    compressed = _compressed(bzimage)
    for flag, bits, extra, arguments in (
        (XLoadFlag.XLF_EFI_HANDOVER_32, 32, 0, "on the stack"),
        (XLoadFlag.XLF_EFI_HANDOVER_64, 64, HANDOVER_64_OFFSET, "rdi, rsi, rdx"),
    ):
        if flag not in bzimage.xload_flags or not bzimage.header.handover_offset:
            continue
        address = bzimage.header.handover_offset + extra
        yield Entry(
            kind=EntryKind.EFI_HANDOVER,
            bits=bits,
            address=address,
            address_kind=AddressKind.LOAD_OFFSET,
            file_offset=bzimage.protected_mode_offset + address,
            demands=tuple(line.format(arguments=arguments) for line in _HANDOVER_STATE),
            source='Linux boot.rst "EFI Handover Protocol"',
            decompressor=Decompressor.UNTOLD if compressed else Decompressor.NONE,
            kernel_entry=_kernel_entry(bzimage, vmlinux),
            remark=_STUB_REMARK if compressed else "",
        )


def _linux(bzimage: BzImage, vmlinux: Vmlinux | None) -> Iterator[Entry]:
    decompressor = Decompressor.ENTERED if _compressed(bzimage) else Decompressor.NONE
    kernel_entry = _kernel_entry(bzimage, vmlinux)
    start = bzimage.protected_mode_offset
    yield Entry(
        kind=EntryKind.LINUX16,
        bits=16,
        address=JUMP_OFFSET,
        address_kind=AddressKind.SETUP_OFFSET,
        file_offset=JUMP_OFFSET,
        demands=_LINUX16_STATE,
        source='Linux boot.rst "Running the Kernel"',
        decompressor=decompressor,
        kernel_entry=kernel_entry,
    )
    if LoadFlag.LOADED_HIGH in bzimage.load_flags:
        yield Entry(
            kind=EntryKind.LINUX32,
            bits=32,
            address=0,
            address_kind=AddressKind.LOAD_OFFSET,
            file_offset=start,
            demands=_LINUX32_STATE,
            source='Linux boot.rst "32-bit Boot Protocol"',
            decompressor=decompressor,
            kernel_entry=kernel_entry,
        )
    if XLoadFlag.XLF_KERNEL_64 in bzimage.xload_flags:
        yield Entry(
            kind=EntryKind.LINUX64,
            bits=64,
            address=LINUX64_OFFSET,
            address_kind=AddressKind.LOAD_OFFSET,
            file_offset=start + LINUX64_OFFSET,
            demands=_LINUX64_STATE,
            source='Linux boot.rst "64-bit Boot Protocol"',
            decompressor=decompressor,
            kernel_entry=kernel_entry,
        )


def _xen(bzimage: BzImage | None, vmlinux: Vmlinux) -> Iterator[Entry]:
    decompressor = Decompressor.BYPASSED if bzimage is not None else Decompressor.NONE
    linux = _is_linux(vmlinux)
    pvh = vmlinux.xen_number(XenElfNote.PHYS32_ENTRY)
    if pvh is not None:
        native = _kernel_entry(bzimage, vmlinux)
        yield Entry(
            kind=EntryKind.PVH,
            bits=32,
            address=pvh,
            address_kind=AddressKind.PHYSICAL,
            file_offset=None,
            demands=_PVH_STATE,
            source="xen/include/public/arch-x86/hvm/start_info.h",
            decompressor=decompressor,
            # arch/x86/platform/pvh/head.S: pvh_start_xen fills boot_params and jumps to the native entry
            kernel_entry=f"pvh_start_xen, then {native}" if linux else "the note's address",
            remark=_remark(
                "the loader decompresses the kernel; its KASLR is bypassed with the decompressor"
                if bzimage is not None
                else "",
                points_nowhere=not any(s.spans_physical(pvh) for s in vmlinux.load_segments),
            ),
        )
    virtual = vmlinux.xen_number(XenElfNote.ENTRY)
    if virtual is not None:
        yield Entry(
            kind=EntryKind.XEN_PV,
            bits=64 if vmlinux.is_64bit else 32,
            address=virtual,
            address_kind=AddressKind.VIRTUAL,
            file_offset=None,
            demands=_XEN_PV_STATE,
            source="xen/include/public/xen.h",
            decompressor=decompressor,
            kernel_entry="startup_xen" if linux else "the note's address",
            remark=_remark(
                "the loader decompresses the kernel" if bzimage is not None else "",
                points_nowhere=not any(s.spans_virtual(virtual) for s in vmlinux.load_segments),
            ),
        )


def _remark(remark: str, *, points_nowhere: bool) -> str:
    return "the note points outside the load segments" if points_nowhere else remark


def _is_linux(vmlinux: Vmlinux) -> bool:
    guest = vmlinux.xen_note(XenElfNote.GUEST_OS)
    return (guest is not None and guest.value == "linux") or any(n.owner == "Linux" for n in vmlinux.notes)
