# SPDX-License-Identifier: GPL-2.0-or-later
"""Finds the Multiboot and Multiboot2 headers of a kernel and reads what they ask a boot loader for.

A header counts when its magic and its checksum are right. What it says of addresses is checked against the
file only where a loader would act on it: a file that is neither an ELF nor has addresses in its header is
nothing that such a loader loads, and xen.efi is one of those.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NoReturn

from pvefi.errors import ImageError
from pvefi.image.vmlinux import Vmlinux
from pvefi.spec import multiboot, multiboot2
from pvefi.spec.multiboot import AddressFields, GraphicsFields, MultibootFlag, MultibootHeader
from pvefi.spec.multiboot2 import Architecture, HeaderTag, Multiboot2Header, TagHeader

__all__ = [
    "HEAD_SIZE",
    "LoadAddresses",
    "Multiboot",
    "Multiboot2",
    "Multiboot2Tag",
    "check_multiboot",
    "find_multiboot",
    "find_multiboot2",
    "has_multiboot_header",
]

HEAD_SIZE = multiboot2.SEARCH_SIZE
"""Both headers stand in the first so many bytes of a file."""
_SUM_MASK = 0xFFFFFFFF
_WORD = struct.Struct("<I")
_MAX_TAGS = 256
_ADDRESS_LIMIT = 1 << 32
"""Addresses are 32 bits wide in both headers, and paging is off at their entries."""


@dataclass(frozen=True, slots=True)
class LoadAddresses:
    """Where a file that need not be an ELF is loaded: so many bytes from `file_offset` on."""

    header_address: int
    load_address: int
    load_end_address: int  # 0: to the end of the file
    bss_end_address: int  # 0: no .bss
    file_offset: int

    def end(self, file_size: int) -> int:
        """The physical address after the last byte in use."""
        loaded = self.load_end_address or self.load_address + file_size - self.file_offset
        return max(loaded, self.bss_end_address)

    def spans(self, address: int, file_size: int) -> bool:
        """Whether physical `address` is in use once a file of this size is loaded."""
        return self.load_address <= address < self.end(file_size)


@dataclass(frozen=True, slots=True)
class Multiboot:
    """A Multiboot header; addresses and entry with AOUT_KLUDGE only, graphics with VIDEO_MODE."""

    offset: int
    flags: MultibootFlag
    addresses: LoadAddresses | None
    entry_address: int | None
    graphics: GraphicsFields | None


@dataclass(frozen=True, slots=True)
class Multiboot2Tag:
    """One tag of a Multiboot2 header: the words after its head, all 32 bits wide."""

    type: HeaderTag
    optional: bool
    words: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Multiboot2:
    """A Multiboot2 header and its tags, without the one that ends them."""

    offset: int
    architecture: Architecture
    length: int
    tags: tuple[Multiboot2Tag, ...]
    addresses: LoadAddresses | None

    def words(self, kind: HeaderTag) -> tuple[int, ...] | None:
        """Return the words of the first tag of this kind; None when there is none."""
        return next((tag.words for tag in self.tags if tag.type == kind), None)

    def entry(self, kind: HeaderTag) -> int | None:
        """Return the address in an entry tag of this kind."""
        words = self.words(kind)
        return words[0] if words else None


def has_multiboot_header(head: bytes) -> bool:
    """Whether a header of either kind stands in `head`, a file's first HEAD_SIZE bytes."""
    return _place(head) is not None or _place2(head) is not None


def _place(head: bytes) -> int | None:
    head = head[: multiboot.SEARCH_SIZE]
    return _search(head, multiboot.MAGIC, multiboot.ALIGNMENT, MultibootHeader.SIZE)


def _place2(head: bytes) -> int | None:
    head = head[: multiboot2.SEARCH_SIZE]
    return _search(head, multiboot2.MAGIC, multiboot2.ALIGNMENT, Multiboot2Header.SIZE)


def _search(head: bytes, magic: int, alignment: int, size: int) -> int | None:
    """Return where a header of `size` bytes begins whose words sum to zero."""
    at = -1
    while (at := head.find(_WORD.pack(magic), at + 1)) >= 0:
        if at % alignment or at + size > len(head):
            continue
        if sum(struct.unpack_from(f"<{size // _WORD.size}I", head, at)) & _SUM_MASK == 0:
            return at
    return None


def find_multiboot(path: str, data: bytes, size: int) -> Multiboot | None:
    """Return the Multiboot header of `data`, all or the start of a file of `size` bytes.

    ImageError when it is cut off or its addresses make no sense.
    """
    at = _place(data[: multiboot.SEARCH_SIZE])
    if at is None:
        return None
    flags = MultibootFlag(MultibootHeader.unpack(data, at).flags)
    addresses, entry, graphics = None, None, None
    fields_at = at + MultibootHeader.SIZE
    if MultibootFlag.AOUT_KLUDGE in flags:
        if fields_at + AddressFields.SIZE > len(data):
            _refuse(path, at, "a whole Multiboot header", "the end of the file in it")
        fields = AddressFields.unpack(data, fields_at)
        addresses = _addresses(
            path, size, at, (fields.header_addr, fields.load_addr, fields.load_end_addr, fields.bss_end_addr)
        )
        entry = fields.entry_addr
    if MultibootFlag.VIDEO_MODE in flags and fields_at + AddressFields.SIZE + GraphicsFields.SIZE <= len(
        data
    ):
        graphics = GraphicsFields.unpack(data, fields_at + AddressFields.SIZE)
    return Multiboot(at, flags, addresses, entry, graphics)


def find_multiboot2(path: str, data: bytes, size: int) -> Multiboot2 | None:
    """Return the Multiboot2 header of `data`, all or the start of a file of `size` bytes.

    ImageError when its tags or addresses make no sense.
    """
    at = _place2(data[: multiboot2.SEARCH_SIZE])
    if at is None:
        return None
    header = Multiboot2Header.unpack(data, at)
    if header.header_length < Multiboot2Header.SIZE or at + header.header_length > min(
        len(data), multiboot2.SEARCH_SIZE
    ):
        _refuse(
            path,
            at,
            f"a Multiboot2 header within the first {multiboot2.SEARCH_SIZE:#x} bytes",
            f"one of {header.header_length:#x} bytes at {at:#x}",
        )
    tags = _tags(path, data, at, header.header_length)
    addresses = None
    words = next((tag.words for tag in tags if tag.type is HeaderTag.ADDRESS), None)
    if words is not None:
        addresses = _addresses(path, size, at, (words[0], words[1], words[2], words[3]))
    return Multiboot2(at, header.architecture, header.header_length, tags, addresses)


def _tags(path: str, data: bytes, start: int, length: int) -> tuple[Multiboot2Tag, ...]:
    tags: list[Multiboot2Tag] = []
    at, end = start + Multiboot2Header.SIZE, start + length
    while True:
        if at + TagHeader.SIZE > end:
            _refuse(path, start, "Multiboot2 tags that end with an END tag", f"none in {length:#x} bytes")
        head = TagHeader.unpack(data, at)
        if head.type is HeaderTag.END:
            return tuple(tags)
        if head.size < TagHeader.SIZE or at + head.size > end:
            _refuse(path, at, f"a Multiboot2 tag of 8 to {end - at} bytes", f"one of {head.size}")
        if len(tags) == _MAX_TAGS:
            _refuse(path, at, f"at most {_MAX_TAGS} Multiboot2 tags", "more")
        count = (head.size - TagHeader.SIZE) // _WORD.size
        needed = len(multiboot2.TAG_FIELDS.get(head.type, ()))
        if count < needed:
            _refuse(path, at, f"a Multiboot2 {head.type.name} tag of {needed} words", f"{count}")
        words = struct.unpack_from(f"<{count}I", data, at + TagHeader.SIZE)
        tags.append(Multiboot2Tag(head.type, bool(head.flags & multiboot2.OPTIONAL), words))
        at += (head.size + multiboot2.ALIGNMENT - 1) & -multiboot2.ALIGNMENT


def _addresses(path: str, file_size: int, at: int, words: tuple[int, int, int, int]) -> LoadAddresses:
    """Return where the file is loaded; the header's own place ties file offsets to addresses."""
    header, load, load_end, bss_end = words
    if load == multiboot2.LOAD_FROM_START:
        load = header - at
    file_offset = at - (header - load)
    if load < 0 or load > header or file_offset < 0:
        _refuse(
            path,
            at,
            f"a load address of {max(header - at, 0):#x} to {header:#x}, where the header is to stand",
            f"{load:#x}",
        )
    file_end = load + file_size - file_offset
    if load_end and not load < load_end <= file_end:
        _refuse(path, at, f"a load end of {load:#x} to {file_end:#x}, where the file ends", f"{load_end:#x}")
    data_end = load_end or file_end
    if data_end > _ADDRESS_LIMIT:
        _refuse(path, at, f"loaded data that ends at {_ADDRESS_LIMIT:#x} or below", f"{data_end:#x}")
    if bss_end and bss_end < data_end:
        _refuse(path, at, f"a .bss that ends after the data, at {data_end:#x} or above", f"{bss_end:#x}")
    return LoadAddresses(header, load, load_end, bss_end, file_offset)


def check_multiboot(
    path: str,
    file_size: int,
    vmlinux: Vmlinux | None,
    header: Multiboot | None,
    header2: Multiboot2 | None,
) -> None:
    """Raise ImageError when a loader that believes the headers would jump to where nothing is loaded."""
    if header is not None:
        entry = header.entry_address if header.addresses is not None else None
        _check_entry(path, header.offset, file_size, vmlinux, header.addresses, entry)
    if header2 is None or header2.architecture is not Architecture.I386:
        return
    kinds = (HeaderTag.ENTRY_ADDRESS, HeaderTag.ENTRY_ADDRESS_EFI32, HeaderTag.ENTRY_ADDRESS_EFI64)
    entries: list[int | None] = [entry for entry in map(header2.entry, kinds) if entry is not None]
    for named in entries or [None]:
        _check_entry(path, header2.offset, file_size, vmlinux, header2.addresses, named)


def _check_entry(
    path: str,
    at: int,
    file_size: int,
    vmlinux: Vmlinux | None,
    addresses: LoadAddresses | None,
    entry: int | None,
) -> None:
    if addresses is not None and entry is not None:
        if not addresses.spans(entry, file_size):
            _refuse(
                path,
                at,
                f"a Multiboot entry in what is loaded, {addresses.load_address:#x} to "
                f"{addresses.end(file_size):#x}",
                f"{entry:#x}",
            )
        return
    if vmlinux is None:
        return
    if entry is None and vmlinux.entry_code is None:
        _refuse(path, at, "an ELF entry point inside a load segment", f"{vmlinux.e_entry:#x}")
    if entry is not None and not any(load.spans_physical(entry) for load in vmlinux.load_segments):
        _refuse(path, at, "a Multiboot2 entry inside a load segment", f"{entry:#x}")


def _refuse(path: str, offset: int, expected: str, found: str) -> NoReturn:
    raise ImageError(path, offset, expected, found, "the file is truncated or its header is corrupt")
