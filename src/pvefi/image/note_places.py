# SPDX-License-Identifier: GPL-2.0-or-later
"""Finds where an ELF's notes stand, and refuses places that are absurd.

Notes are in PT_NOTE segments. A kernel that has no such segment may have them in sections: Xen looks
there next (xen/common/libelf/libelf-dominfo.c), and so does this, where the whole file is at hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from pvefi.errors import ImageError
from pvefi.image.elf import (
    SECTION_NOTE,
    Elf32Header,
    Elf32ProgramHeader,
    Elf32SectionHeader,
    Elf64Header,
    Elf64ProgramHeader,
    Elf64SectionHeader,
    SegmentType,
)

__all__ = ["NotePlace", "note_sections", "note_segments"]

_MAX_SIZE = 1 << 20
_MAX_SECTIONS = 4096


@dataclass(frozen=True, slots=True, order=True)
class NotePlace:
    """A row of notes in the ELF file."""

    offset: int
    size: int
    alignment: int


def note_segments(
    path: str, where: int, file_size: int, programs: Sequence[Elf64ProgramHeader | Elf32ProgramHeader]
) -> list[NotePlace]:
    """Return the note segments by offset; ImageError when they overlap, pass the end or are huge."""
    found = [
        NotePlace(p.offset, p.file_size, p.alignment or 1)
        for p in programs
        if p.type is SegmentType.NOTE and p.file_size
    ]
    return _checked(path, where, file_size, found)


def note_sections(path: str, where: int, data: bytes, header: Elf64Header | Elf32Header) -> list[NotePlace]:
    """Return the note sections of the ELF file `data` by offset; none where there is no section table."""
    kind = Elf64SectionHeader if isinstance(header, Elf64Header) else Elf32SectionHeader
    start, count = header.section_offset, header.section_count
    if not start or header.section_header_size != kind.SIZE or count > _MAX_SECTIONS:
        return []
    if start + count * kind.SIZE > len(data):
        return []  # a table that was cut off: nothing that loads the kernel needs it
    sections = (kind.unpack(data, start + index * kind.SIZE) for index in range(count))
    found = [
        NotePlace(s.offset, s.section_size, s.alignment or 1)
        for s in sections
        if s.type == SECTION_NOTE and s.section_size
    ]
    return _checked(path, where, len(data), found)


def _checked(path: str, where: int, file_size: int, places: list[NotePlace]) -> list[NotePlace]:
    end = 0
    for place in sorted(places):
        if place.size > _MAX_SIZE:
            _refuse(path, where, f"a note segment of at most {_MAX_SIZE:#x} bytes", f"one of {place.size:#x}")
        if place.offset + place.size > file_size:
            _refuse(
                path,
                where,
                f"notes within the kernel's {file_size:#x} bytes",
                f"notes up to {place.offset + place.size:#x}",
            )
        if place.offset < end:
            _refuse(
                path,
                where,
                f"notes that do not overlap (the ones before end at {end:#x})",
                f"{place.offset:#x}",
            )
        end = place.offset + place.size
    return sorted(places)


def _refuse(path: str, where: int, expected: str, found: str) -> NoReturn:
    raise ImageError(path, where, expected, found, "the file is truncated or corrupt")
