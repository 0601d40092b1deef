# SPDX-License-Identifier: GPL-2.0-or-later
"""The EFI entries: the PE image's own, those for firmware of another machine type, and the handover ones."""

from __future__ import annotations

from collections.abc import Iterator

from pvefi.image.entries.kernel import has_decompressor, kernel_entry
from pvefi.image.entries.multiboot import multiboot_remark
from pvefi.image.model import AddressKind, Contents, Decompressor, Entry, EntryKind
from pvefi.image.uki import UnifiedKind
from pvefi.spec.linux.setup_header import HANDOVER_64_OFFSET, XLoadFlag
from pvefi.spec.pe import Machine

__all__ = ["efi_entries"]

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
    Machine.ARM64: (
        (
            "AArch64, EL2 or EL1, little-endian, MMU on, all memory of the memory map identity mapped",
            "x0: image handle; x1: EFI system table",
            "128 KiB of stack, 16-byte aligned; interrupts on",
        ),
        "UEFI 2.10 §2.3.6",
    ),
}
_KINDS = {
    Machine.AMD64: EntryKind.EFI,
    Machine.I386: EntryKind.EFI32,
    Machine.ARM64: EntryKind.EFI_ARM64,
}
_HANDOVER_STATE = (
    "the PE image loaded as its headers say, boot services on",
    "{arguments}: image handle, EFI system table, boot_params",
    "boot_params filled: hdr.cmd_line_ptr, hdr.ramdisk_image, hdr.ramdisk_size, all else zero",
)


def efi_entries(contents: Contents) -> Iterator[Entry]:
    """Yield the entries that EFI firmware, or a loader under it, uses."""
    if contents.pe is None:
        return
    pe = contents.pe
    decompressor, entered, remark = _path(contents)
    remark = "; ".join(filter(None, (remark, multiboot_remark(contents))))
    places = [(pe.machine, pe.entry_rva)] if pe.entry_rva and pe.subsystem.is_efi else []
    places += [(compat.machine, compat.entry_rva) for compat in pe.compat]
    for machine, rva in places:
        if machine not in _EFI_STATE:
            continue
        demands, source = _EFI_STATE[machine]
        yield Entry(
            kind=_KINDS[machine],
            bits=32 if machine is Machine.I386 else 64,
            address=rva,
            address_kind=AddressKind.RVA,
            file_offset=pe.file_offset(rva),
            demands=demands,
            source=source,
            decompressor=decompressor,
            kernel_entry=entered,
            remark=remark,
        )
    yield from _handover(contents)


def _path(contents: Contents) -> tuple[Decompressor, str, str]:
    """Return what the EFI entry does with a decompressor, where it enters the kernel, and a remark."""
    if contents.zboot is not None:
        return Decompressor.ENTERED, "that of the image inside", "the stub decompresses the image inside"
    if contents.arm64 is not None:
        return Decompressor.NONE, "code0", ""
    if contents.unified is not None and contents.unified.kind is UnifiedKind.UKI:
        return Decompressor.NONE, "that of .linux", "the stub starts the kernel in .linux"
    if has_decompressor(contents):
        return Decompressor.UNTOLD, kernel_entry(contents), _STUB_REMARK
    return Decompressor.NONE, kernel_entry(contents), ""


def _handover(contents: Contents) -> Iterator[Entry]:
    bzimage = contents.bzimage
    if bzimage is None or not bzimage.header.handover_offset:
        return
    decompressor, entered, remark = _path(contents)
    for flag, bits, extra, arguments in (
        (XLoadFlag.XLF_EFI_HANDOVER_32, 32, 0, "on the stack"),
        (XLoadFlag.XLF_EFI_HANDOVER_64, 64, HANDOVER_64_OFFSET, "rdi, rsi, rdx"),
    ):
        if flag not in bzimage.xload_flags:
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
            decompressor=decompressor,
            kernel_entry=entered,
            remark=remark,
        )
