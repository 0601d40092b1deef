# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads the kernel proper, an ELF: its entry, load segments, notes, and the code at its entries.

It asks its source for little, in ascending order, so that a compressed kernel is decompressed only as far
as its notes. The code bytes prove later, wherever KASLR put the kernel, that the kernel proper got control.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from pvefi.errors import ImageError
from pvefi.image.elf import (
    ELF_MAGIC,
    IDENT_CLASS,
    IDENT_DATA,
    LITTLE_ENDIAN,
    Elf32Header,
    Elf32ProgramHeader,
    Elf64Header,
    Elf64ProgramHeader,
    ElfClass,
    ElfMachine,
    ElfType,
    SegmentType,
)
from pvefi.image.note_places import NotePlace, note_sections, note_segments
from pvefi.image.notes import MAX_NOTES, Note, parse_notes
from pvefi.image.payload import PlainStream
from pvefi.spec.xen.elfnote import NOTE_NAME, XenElfNote

__all__ = ["CODE_SIZE", "Code", "LoadSegment", "Vmlinux", "read_vmlinux"]

CODE_SIZE = 256
"""Bytes of code kept from e_entry on."""
_HEAD_SIZE = 64 << 10
"""ELF header and program headers lie in the first 64 KiB of every kernel (Linux vmlinux.lds: at once)."""
_MAX_PROGRAM_HEADERS = 1024
_IS_CODE = 0  # in place of an alignment
_PERMISSIONS = (("r", 4), ("w", 2), ("x", 1))  # ELF gABI "Segment Permissions"


_HEADERS: dict[int, type[Elf64Header] | type[Elf32Header]] = {
    ElfClass.ELF32: Elf32Header,
    ElfClass.ELF64: Elf64Header,
}


class Source(Protocol):
    """Where the ELF's bytes come from; ranges are read in ascending order of offset."""

    @property
    def size(self) -> int:
        """The ELF file's size."""
        ...

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes at `offset`, or raise ImageError."""
        ...


@dataclass(frozen=True, slots=True)
class LoadSegment:
    """One PT_LOAD."""

    file_offset: int
    virtual_address: int
    physical_address: int
    file_size: int
    memory_size: int
    flags: int
    alignment: int

    @property
    def permissions(self) -> str:
        """PF_R, PF_W and PF_X the way readelf writes them."""
        return "".join(letter if self.flags & bit else "-" for letter, bit in _PERMISSIONS)

    def spans_physical(self, address: int) -> bool:
        """Whether physical `address` lies in the segment, in memory."""
        return self.physical_address <= address < self.physical_address + self.memory_size

    def spans_virtual(self, address: int) -> bool:
        """Whether virtual `address` lies in the segment, in memory."""
        return self.virtual_address <= address < self.virtual_address + self.memory_size


@dataclass(frozen=True, slots=True)
class Code:
    """The first bytes at e_entry, and where they lie in their load segment."""

    segment_index: int
    segment_offset: int
    physical_address: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Vmlinux:
    """The kernel proper; `e_entry` is as the ELF has it, physical on x86-64 Linux."""

    machine: ElfMachine
    elf_class: ElfClass
    type: ElfType
    size: int
    e_entry: int
    load_segments: tuple[LoadSegment, ...]
    notes: tuple[Note, ...]
    entry_code: Code | None

    @property
    def is_64bit(self) -> bool:
        """Whether it is an ELF64."""
        return self.elf_class is ElfClass.ELF64

    def note(self, owner: str, kind: int) -> Note | None:
        """Return the note of this owner and type."""
        return next((note for note in self.notes if (note.owner, note.type) == (owner, kind)), None)

    def xen_note(self, kind: XenElfNote) -> Note | None:
        """Return the Xen note `kind`."""
        return self.note(NOTE_NAME, kind)

    def xen_number(self, kind: XenElfNote) -> int | None:
        """Return a Xen note's number; None when there is no such note or it holds none."""
        note = self.xen_note(kind)
        return note.value if note is not None and isinstance(note.value, int) else None

    def code_at_entry(self, count: int = CODE_SIZE) -> bytes:
        """Return the first bytes at e_entry; fewer than `count` when the file holds no more of them."""
        return self.entry_code.data[:count] if self.entry_code is not None else b""

    @property
    def physical_end(self) -> int:
        """The physical address after the last load segment."""
        return max((s.physical_address + s.memory_size for s in self.load_segments), default=0)


def read_vmlinux(path: str, source: Source, where: int = 0) -> Vmlinux:
    """Return what the ELF in `source` is; `where` is its (compressed) place in the file, for messages."""
    head = source.read(0, min(_HEAD_SIZE, source.size))
    header = _header(path, head, where)
    programs = _programs(path, head, header, where)
    loads = _segments(path, source, programs, where)
    if any(p.type is SegmentType.INTERP for p in programs):
        raise ImageError(path, where, "a kernel", "an ELF program for user space (it has an interpreter)")
    places = note_segments(path, where, source.size, programs)
    if not places and isinstance(source, PlainStream):
        places = note_sections(path, where, source.read(0, source.size), header)
    notes, code = _read_parts(path, source, places, loads, entry=header.entry, where=where)
    return Vmlinux(
        machine=header.machine,
        elf_class=ElfClass(header.ident[IDENT_CLASS]),
        type=header.type,
        size=source.size,
        e_entry=header.entry,
        load_segments=loads,
        notes=notes,
        entry_code=code,
    )


def _header(path: str, head: bytes, where: int) -> Elf64Header | Elf32Header:
    if head[: len(ELF_MAGIC)] != ELF_MAGIC:
        raise ImageError(path, where, "an ELF kernel", f"bytes {head[:4].hex(' ')}")
    if len(head) < Elf64Header.SIZE:
        raise ImageError(path, where, "a whole ELF header", f"{len(head)} bytes")
    kind = _HEADERS.get(head[IDENT_CLASS])
    if kind is None:
        raise ImageError(path, where, "a 32-bit or 64-bit ELF", f"class {head[IDENT_CLASS]}")
    if head[IDENT_DATA] != LITTLE_ENDIAN:
        raise ImageError(path, where, "a little-endian ELF", "a big-endian one, for another machine")
    return kind.unpack(head)


def _programs(
    path: str, head: bytes, header: Elf64Header | Elf32Header, where: int
) -> list[Elf64ProgramHeader | Elf32ProgramHeader]:
    kind = Elf64ProgramHeader if isinstance(header, Elf64Header) else Elf32ProgramHeader
    start, count = header.program_offset, header.program_count
    if count and header.program_header_size != kind.SIZE:
        raise ImageError(
            path, where, f"program headers of {kind.SIZE} bytes", f"e_phentsize {header.program_header_size}"
        )
    if count > _MAX_PROGRAM_HEADERS or start + count * kind.SIZE > len(head):
        raise ImageError(
            path,
            where,
            f"program headers within the first {len(head):#x} bytes",
            f"{count} of them at {start:#x}",
        )
    return [kind.unpack(head, start + index * kind.SIZE) for index in range(count)]


def _segments(
    path: str, source: Source, programs: list[Elf64ProgramHeader | Elf32ProgramHeader], where: int
) -> tuple[LoadSegment, ...]:
    loads = []
    for p in programs:
        if p.type is not SegmentType.LOAD:
            continue
        if p.file_size and p.offset + p.file_size > source.size:
            raise ImageError(
                path,
                where,
                f"load segments within the kernel's {source.size:#x} bytes",
                f"one up to {p.offset + p.file_size:#x}",
                "the file is truncated or corrupt",
            )
        if p.file_size > p.memory_size:
            raise ImageError(
                path,
                where,
                "load segments no larger in the file than in memory",
                f"p_filesz {p.file_size:#x}, p_memsz {p.memory_size:#x}",
            )
        loads.append(
            LoadSegment(
                file_offset=p.offset,
                virtual_address=p.virtual_address,
                physical_address=p.physical_address,
                file_size=p.file_size,
                memory_size=p.memory_size,
                flags=p.flags,
                alignment=p.alignment,
            )
        )
    return tuple(loads)


def _read_parts(
    path: str,
    source: Source,
    note_places: list[NotePlace],
    loads: tuple[LoadSegment, ...],
    *,
    entry: int,
    where: int,
) -> tuple[tuple[Note, ...], Code | None]:
    """Read notes and code in one ascending pass over the source."""
    wanted = [(place.offset, place.size, place.alignment) for place in note_places]
    place = _place(loads, entry)
    if place is not None:
        index, into = place
        size = min(CODE_SIZE, loads[index].file_size - into)
        wanted.append((loads[index].file_offset + into, size, _IS_CODE))
    notes: list[Note] = []
    code = None
    for offset, size, alignment in sorted(wanted):
        data = source.read(offset, size)
        if alignment != _IS_CODE:
            notes += parse_notes(path, data, where, alignment)
            if len(notes) > MAX_NOTES:
                raise ImageError(path, where, f"at most {MAX_NOTES} notes", "more")
        elif place is not None:
            index, into = place
            code = Code(index, into, loads[index].physical_address + into, data)
    return tuple(notes), code


def _place(loads: tuple[LoadSegment, ...], entry: int) -> tuple[int, int] | None:
    """Return in which load segment and how far into it `entry` lies: x86 Linux gives a physical address."""
    for index, load in enumerate(loads):
        if entry - load.physical_address in range(load.file_size):
            return index, entry - load.physical_address
    for index, load in enumerate(loads):
        if entry - load.virtual_address in range(load.file_size):
            return index, entry - load.virtual_address
    return None
