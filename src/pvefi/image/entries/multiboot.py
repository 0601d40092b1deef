# SPDX-License-Identifier: GPL-2.0-or-later
"""The entries that multiboot headers name, where a boot loader can load the file that has them.

Sources: Multiboot Specification 0.6.96 "OS image format" and "Machine state", Multiboot2 Specification 2.0
"OS image format" and "Machine state".
"""

from __future__ import annotations

from collections.abc import Iterator

from pvefi.image.model import AddressKind, Contents, Decompressor, Entry, EntryKind
from pvefi.image.multiboot import LoadAddresses
from pvefi.spec.multiboot2 import Architecture, HeaderTag, Preference

__all__ = ["multiboot_entries", "multiboot_remark"]

_I386_STATE = (
    "{load}",
    "32-bit protected mode, paging off, interrupts off, A20 on; flat cs, ds, es, fs, gs, ss",
    "eax: {magic:#x}; ebx: {what} information",
)
_EFI_STATE = {
    HeaderTag.ENTRY_ADDRESS_EFI64: (
        "{load}, below 4 GiB",
        "as for an EFI application (UEFI 2.10 §2.3.4), boot services on",
        "eax: {magic:#x}; rbx: {what} information",
    ),
    HeaderTag.ENTRY_ADDRESS_EFI32: (
        "{load}",
        "as for an EFI application (UEFI 2.10 §2.3.2), boot services on",
        "eax: {magic:#x}; ebx: {what} information",
    ),
}
_MULTIBOOT_ANSWER = 0x2BADB002
_MULTIBOOT2_ANSWER = 0x36D76289
_BY_ELF = "the ELF's load segments at their physical addresses"
_BY_HEADER = "the file loaded by the addresses in the header"
_ADDRESSES = {"Multiboot": "address fields", "Multiboot2": "an address tag"}
"""What each header would have for a file that is no ELF."""


def multiboot_entries(contents: Contents) -> Iterator[Entry]:
    """Yield the entries of both headers, the older first; none where nothing says how to load the file."""
    header, header2 = contents.multiboot, contents.multiboot2
    if header is not None:
        named = header.entry_address if header.addresses is not None else None
        yield from _entry(
            contents, EntryKind.MULTIBOOT, 32, header.addresses, named, _I386_STATE, _MULTIBOOT_ANSWER
        )
    if header2 is None or header2.architecture is not Architecture.I386:
        return
    remark = _relocation(header2.words(HeaderTag.RELOCATABLE))
    yield from _entry(
        contents,
        EntryKind.MULTIBOOT2,
        32,
        header2.addresses,
        header2.entry(HeaderTag.ENTRY_ADDRESS),
        _I386_STATE,
        _MULTIBOOT2_ANSWER,
        remark,
    )
    if header2.words(HeaderTag.EFI_BOOT_SERVICES) is None:
        return
    for tag, bits in ((HeaderTag.ENTRY_ADDRESS_EFI64, 64), (HeaderTag.ENTRY_ADDRESS_EFI32, 32)):
        named = header2.entry(tag)
        if named is not None:
            yield from _entry(
                contents,
                EntryKind.MULTIBOOT2,
                bits,
                header2.addresses,
                named,
                _EFI_STATE[tag],
                _MULTIBOOT2_ANSWER,
                remark,
            )


def multiboot_remark(contents: Contents) -> str:
    """Return why no entry comes of the headers in a PE image that name no load addresses; "" without any."""
    if contents.pe is None:
        return ""
    header, header2 = contents.multiboot, contents.multiboot2
    names = []
    if header is not None and header.addresses is None:
        names.append("Multiboot")
    if header2 is not None and header2.addresses is None and header2.architecture is Architecture.I386:
        names.append("Multiboot2")
    if not names:
        return ""
    headers, them = ("headers", "them") if len(names) > 1 else ("header", "it")
    addresses = " or ".join(_ADDRESSES[name] for name in names)
    return f"{' and '.join(names)} {headers} present, but a PE without {addresses} is not loadable by {them}"


def _relocation(words: tuple[int, ...] | None) -> str:
    if words is None:
        return ""
    lowest, highest, alignment, preference = words[:4]
    wish = {Preference.LOWEST: ", as low as can be", Preference.HIGHEST: ", as high as can be"}
    return (
        f"may be moved to {lowest:#x} to {highest:#x}, aligned to {alignment:#x}"
        f"{wish.get(Preference(preference), '')}"
    )


def _entry(
    contents: Contents,
    kind: EntryKind,
    bits: int,
    addresses: LoadAddresses | None,
    named: int | None,
    state: tuple[str, ...],
    magic: int,
    remark: str = "",
) -> Iterator[Entry]:
    place = _place(contents, addresses, named)
    if place is None:
        return
    address, file_offset = place
    what = "Multiboot" if kind is EntryKind.MULTIBOOT else "Multiboot2"
    load = _BY_HEADER if addresses is not None else _BY_ELF
    yield Entry(
        kind=kind,
        bits=bits,
        address=address,
        address_kind=AddressKind.PHYSICAL,
        file_offset=file_offset,
        demands=tuple(line.format(load=load, magic=magic, what=what) for line in state),
        source='Multiboot 0.6.96 "Machine state"'
        if kind is EntryKind.MULTIBOOT
        else 'Multiboot2 2.0 "Machine state"',
        decompressor=Decompressor.NONE,
        kernel_entry="",
        remark=remark,
    )


def _place(
    contents: Contents, addresses: LoadAddresses | None, named: int | None
) -> tuple[int, int | None] | None:
    """Return the entry's physical address and file offset; None when the file cannot be loaded."""
    if addresses is not None and named is not None:
        return named, addresses.file_offset + named - addresses.load_address
    vmlinux = contents.vmlinux if contents.payload is None else None
    if vmlinux is None:
        return None
    if named is None:
        code = vmlinux.entry_code
        if code is None:
            return None
        load = vmlinux.load_segments[code.segment_index]
        return code.physical_address, load.file_offset + code.segment_offset
    for load in vmlinux.load_segments:
        if load.spans_physical(named):
            into = named - load.physical_address
            return named, load.file_offset + into if into < load.file_size else None
    return None
