# SPDX-License-Identifier: GPL-2.0-or-later
"""The entries of the Linux/x86 boot protocol (Linux boot.rst)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from pvefi.image.entries.kernel import has_decompressor, kernel_entry
from pvefi.image.model import AddressKind, Contents, Decompressor, Entry, EntryKind
from pvefi.spec.linux.setup_header import JUMP_OFFSET, LINUX64_OFFSET, LoadFlag, XLoadFlag

__all__ = ["linux_entries"]

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
_KEXEC_STATE = (
    *_LINUX64_STATE,
    "runtime services at virtual addresses, boot services gone",
    "efi_info: system table, and memory map with those addresses; setup_data of type SETUP_EFI",
)


def linux_entries(contents: Contents) -> Iterator[Entry]:
    """Yield the entries of the x86 boot protocol, by the mode of the CPU."""
    bzimage = contents.bzimage
    if bzimage is None:
        return
    decompressor = Decompressor.ENTERED if has_decompressor(contents) else Decompressor.NONE
    entered = kernel_entry(contents)
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
        kernel_entry=entered,
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
            kernel_entry=entered,
        )
    if XLoadFlag.XLF_KERNEL_64 in bzimage.xload_flags:
        linux64 = Entry(
            kind=EntryKind.LINUX64,
            bits=64,
            address=LINUX64_OFFSET,
            address_kind=AddressKind.LOAD_OFFSET,
            file_offset=start + LINUX64_OFFSET,
            demands=_LINUX64_STATE,
            source='Linux boot.rst "64-bit Boot Protocol"',
            decompressor=decompressor,
            kernel_entry=entered,
        )
        yield linux64
        if XLoadFlag.XLF_EFI_KEXEC in bzimage.xload_flags:
            yield replace(
                linux64,
                kind=EntryKind.KEXEC,
                demands=_KEXEC_STATE,
                source=f"{linux64.source}, xloadflags bit 4",
                remark="as a kexec from a kernel that EFI booted",
            )
