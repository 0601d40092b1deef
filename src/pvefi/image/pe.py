# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads a PE/COFF file's headers into a frozen `PeImage`, refusing what no EFI loader could map.

Stands first in the flow: `inspect` calls it, `pe_load` maps what it describes. Strict where a lie would
make a loader read or write outside its buffers; no stricter than EDK2's BasePeCoffLib, which loads images
with a SizeOfImage past their last section (syslinux) and alignments of 0x20 (iPXE).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pvefi.errors import ImageError
from pvefi.image.pe_checks import check_pe
from pvefi.spec.pe import (
    SECTION_HEADER_SIZE,
    SYMBOL_SIZE,
    Characteristic,
    CompatEntry,
    Directory,
    DllCharacteristic,
    Machine,
    OptionalMagic,
    SectionCharacteristic,
    Subsystem,
)

if TYPE_CHECKING:
    import pefile

__all__ = ["CompatImage", "PeImage", "Section", "has_pe_header", "parse_pe"]

_COMPAT_SECTION = ".compat"
_MZ = b"MZ"
_PE = b"PE\0\0"
_MAX_SECTION_NAME = 64
_HEADERS_READ = 1 << 20
"""All headers stand in the first MiB; those of real images take a few KB."""
_LFANEW = struct.Struct("<I")
_LFANEW_OFFSET = 0x3C


@dataclass(frozen=True, slots=True)
class Section:
    """One section header; `header_offset` is where it stands in the file."""

    name: str
    virtual_address: int
    virtual_size: int
    raw_offset: int
    raw_size: int
    characteristics: SectionCharacteristic
    header_offset: int

    @property
    def memory_size(self) -> int:
        """Bytes that the section takes in memory; objcopy and old linkers leave VirtualSize 0."""
        return self.virtual_size or self.raw_size

    @property
    def file_size(self) -> int:
        """Bytes that a loader copies: raw data is padded to FileAlignment and may pass VirtualSize."""
        return min(self.raw_size, self.memory_size)

    @property
    def end(self) -> int:
        """The RVA after the section's last byte."""
        return self.virtual_address + self.memory_size


@dataclass(frozen=True, slots=True)
class CompatImage:
    """A second entry point, for firmware of another machine type (`.compat`)."""

    machine: Machine
    entry_rva: int


@dataclass(frozen=True, slots=True)
class PeImage:
    """What an EFI loader needs to know of a PE/COFF file; addresses named `_rva` are relative to its base."""

    path: str
    file_size: int
    header_offset: int
    magic: OptionalMagic
    machine: Machine
    subsystem: Subsystem
    entry_rva: int
    image_base: int
    image_base_offset: int  # where ImageBase stands in the file: a loader that moves the image updates it
    section_alignment: int
    file_alignment: int
    size_of_image: int
    size_of_headers: int
    characteristics: Characteristic
    dll_characteristics: DllCharacteristic
    sections: tuple[Section, ...]
    directories: tuple[tuple[Directory, int, int], ...]
    compat: tuple[CompatImage, ...]

    @property
    def bits(self) -> int:
        """64 for PE32+, else 32."""
        return 64 if self.magic is OptionalMagic.PE32_PLUS else 32

    @property
    def nx_compatible(self) -> bool:
        """Whether the image says that it runs with its data pages not executable."""
        return DllCharacteristic.NX_COMPAT in self.dll_characteristics

    @property
    def relocatable(self) -> bool:
        """Whether it may be loaded anywhere; without IMAGE_FILE_RELOCS_STRIPPED it may, table or no table."""
        return Characteristic.RELOCS_STRIPPED not in self.characteristics

    @property
    def relocation_table(self) -> tuple[int, int]:
        """RVA and size of the base relocations; (0, 0) when there are none."""
        return self.directory(Directory.BASERELOC)

    def directory(self, which: Directory) -> tuple[int, int]:
        """Return address and size of a data directory; an RVA, but for SECURITY a file offset."""
        return next(((rva, size) for name, rva, size in self.directories if name == which), (0, 0))

    def section(self, name: str) -> Section | None:
        """Return the first section called `name`."""
        return next((section for section in self.sections if section.name == name), None)

    def section_at(self, rva: int) -> Section | None:
        """Return the section in which `rva` lies."""
        return next((s for s in self.sections if s.virtual_address <= rva < s.end), None)

    def file_offset(self, rva: int) -> int | None:
        """Return where the byte at `rva` stands in the file; None when it is zero fill or nowhere."""
        section = self.section_at(rva)
        if section is None:
            return rva if rva < self.size_of_headers else None
        into = rva - section.virtual_address
        return section.raw_offset + into if into < section.file_size else None

    def rva(self, file_offset: int) -> int | None:
        """Return where the byte at `file_offset` is loaded; None when no section holds it."""
        for section in self.sections:
            if section.raw_offset <= file_offset < section.raw_offset + section.file_size:
                return section.virtual_address + file_offset - section.raw_offset
        return None


def has_pe_header(data: bytes) -> bool:
    """Whether `data` begins an MZ file whose e_lfanew points at a PE signature."""
    if data[:2] != _MZ or len(data) < _LFANEW_OFFSET + _LFANEW.size:
        return False
    (at,) = _LFANEW.unpack_from(data, _LFANEW_OFFSET)
    return bool(data[at : at + len(_PE)] == _PE)


def parse_pe(path: Path | str, data: bytes, file_size: int | None = None) -> PeImage:
    """Return the headers of the PE file `data`; ImageError when they contradict the file or themselves.

    `file_size` is the size of the file when `data` is only its start.
    """
    import pefile  # 20 ms: only for files that are PE

    try:
        # It keeps what it is given until the next garbage collection, which is soon for headers only.
        parsed = pefile.PE(data=data[:_HEADERS_READ], fast_load=True)
    except pefile.PEFormatError as error:
        raise ImageError(path, None, "a PE/COFF file", f"a broken header: {error}") from error
    except Exception as error:  # pefile raises struct.error, TypeError, ... on headers that lie
        raise ImageError(path, None, "a PE/COFF file", f"a header that cannot be read: {error}") from error
    image = _image(str(path), data, parsed, len(data) if file_size is None else file_size)
    check_pe(image)
    return image


def _image(path: str, data: bytes, parsed: pefile.PE, file_size: int) -> PeImage:
    file_header, optional = parsed.FILE_HEADER, parsed.OPTIONAL_HEADER
    if file_header is None or optional is None or not hasattr(optional, "SizeOfHeaders"):
        raise ImageError(path, None, "a whole PE optional header", "one that is cut short")
    header_offset = int(parsed.DOS_HEADER.e_lfanew)
    table = optional.get_file_offset() + file_header.SizeOfOptionalHeader
    symbols = file_header.PointerToSymbolTable
    strings = symbols + file_header.NumberOfSymbols * SYMBOL_SIZE if symbols else 0
    sections = tuple(_sections(path, data, table, file_header.NumberOfSections, strings))
    magic = OptionalMagic(optional.Magic)
    if not magic.known:
        raise ImageError(
            path, optional.get_file_offset(), "PE32 (0x10b) or PE32+ (0x20b)", f"magic {int(magic):#x}"
        )
    return PeImage(
        path=path,
        file_size=file_size,
        header_offset=header_offset,
        magic=magic,
        machine=Machine(file_header.Machine),
        subsystem=Subsystem(optional.Subsystem),
        entry_rva=optional.AddressOfEntryPoint,
        image_base=optional.ImageBase,
        image_base_offset=optional.get_field_absolute_offset("ImageBase"),
        section_alignment=optional.SectionAlignment,
        file_alignment=optional.FileAlignment,
        size_of_image=optional.SizeOfImage,
        size_of_headers=optional.SizeOfHeaders,
        characteristics=Characteristic(file_header.Characteristics),
        dll_characteristics=DllCharacteristic(optional.DllCharacteristics),
        sections=sections,
        directories=tuple(
            (Directory(at), entry.VirtualAddress, entry.Size)
            for at, entry in enumerate(optional.DATA_DIRECTORY)
            if entry.Size
        ),
        compat=tuple(_compat(path, data, sections)),
    )


_SECTION = struct.Struct("<8s4I12xI")
"""Name, VirtualSize, VirtualAddress, SizeOfRawData, PointerToRawData, Characteristics; pefile's own section
objects cost a regular expression and an entropy cache each."""


def _long_name(data: bytes, strings: int, name: bytes) -> bytes:
    """Return the name that "/14" stands for, as GNU ld writes names of more than 8 characters.

    PE Format "Section Table (Section Headers)" has them in object files only; shim and others have them.
    """
    if not strings or name[:1] != b"/" or not name[1:].isdigit():
        return name
    start = strings + int(name[1:])
    long_name, end, _ = data[start : start + _MAX_SECTION_NAME].partition(b"\0")
    return long_name if end and long_name else name


def _sections(path: str, data: bytes, table: int, count: int, strings: int) -> Iterator[Section]:
    if table + count * SECTION_HEADER_SIZE > len(data):
        raise ImageError(
            path,
            table,
            f"{count} section headers",
            f"the end of the file at {len(data):#x}",
            "the file is truncated or its header is corrupt",
        )
    for at in range(table, table + count * SECTION_HEADER_SIZE, SECTION_HEADER_SIZE):
        name, virtual_size, address, raw_size, raw_offset, flags = _SECTION.unpack_from(data, at)
        yield Section(
            name=_long_name(data, strings, name.rstrip(b"\0")).decode("ascii", "backslashreplace"),
            virtual_address=address,
            virtual_size=virtual_size,
            raw_offset=raw_offset,
            raw_size=raw_size,
            characteristics=SectionCharacteristic(flags),
            header_offset=at,
        )


def _compat(path: str, data: bytes, sections: tuple[Section, ...]) -> Iterator[CompatImage]:
    for section in sections:
        if section.name != _COMPAT_SECTION:
            continue
        at, end = section.raw_offset, min(section.raw_offset + section.file_size, len(data))
        while at + CompatEntry.SIZE <= end:
            entry = CompatEntry.unpack(data, at)
            if entry.type == 0:
                break
            if entry.size == 0:
                raise ImageError(path, at, "a .compat entry with a size", "size 0")
            if entry.type == 1 and entry.size >= CompatEntry.SIZE:
                yield CompatImage(entry.machine, entry.entry_point)
            at += entry.size
