# SPDX-License-Identifier: GPL-2.0-or-later
"""Decodes ELF notes by name *and* type: a type number means nothing without its owner.

Sources: the ELF gABI "Note Section", xen/include/public/elfnote.h, Linux include/linux/elfnote.h and
include/linux/build-salt.h, elf.h of glibc (GNU notes).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from pvefi.errors import ImageError
from pvefi.spec.xen.elfnote import NOTE_NAME, NoteForm, XenElfNote, note_form

__all__ = ["GNU_BUILD_ID", "MAX_NOTES", "Note", "NoteValue", "parse_notes"]

NoteValue = int | str | tuple[int, ...] | bytes

_HEADER = struct.Struct("<3I")  # n_namesz, n_descsz, n_type
_ALIGNMENT = 4
_WIDE_ALIGNMENT = 8
_NUMBER_SIZES = (4, 8)
MAX_NOTES = 1024
GNU_BUILD_ID = "NT_GNU_BUILD_ID"

_NAMES: dict[tuple[str, int], str] = {
    ("GNU", 1): "NT_GNU_ABI_TAG",
    ("GNU", 3): GNU_BUILD_ID,
    ("GNU", 5): "NT_GNU_PROPERTY_TYPE_0",
    ("Linux", 0x100): "LINUX_ELFNOTE_BUILD_SALT",
    ("Linux", 0x101): "LINUX_ELFNOTE_LTO_INFO",
}


@dataclass(frozen=True, slots=True)
class Note:
    """One ELF note: its owner, its type's number and name, and what it says."""

    owner: str
    type: int
    name: str
    value: NoteValue
    description: bytes

    def is_xen(self, kind: XenElfNote) -> bool:
        """Whether it is Xen's note `kind`."""
        return self.owner == NOTE_NAME and self.type == kind


def parse_notes(path: str, data: bytes, offset: int, alignment: int = 4) -> Iterator[Note]:
    """Yield the notes of a note segment's bytes; `offset` is where they stand, for messages."""
    # binutils elfcore_parse_notes: only 8 means 8, every other p_align means 4
    step = _WIDE_ALIGNMENT if alignment == _WIDE_ALIGNMENT else _ALIGNMENT
    at, count = 0, 0
    while at + _HEADER.size <= len(data):
        name_size, description_size, kind = _HEADER.unpack_from(data, at)
        name_at = at + _HEADER.size
        description_at = _aligned(name_at + name_size, step)
        end = description_at + description_size
        if end > len(data):
            raise ImageError(
                path,
                offset + at,
                f"a note within its segment ({len(data) - at:#x} bytes left)",
                f"one of {end - at:#x} bytes",
            )
        owner = data[name_at : name_at + name_size].rstrip(b"\0").decode("ascii", "backslashreplace")
        yield _note(owner, kind, data[description_at:end])
        count += 1
        if count > MAX_NOTES:
            raise ImageError(path, offset + at, f"at most {MAX_NOTES} notes", "more")
        at = _aligned(end, step)


def _aligned(size: int, step: int) -> int:
    return (size + step - 1) & -step


def _note(owner: str, kind: int, description: bytes) -> Note:
    if owner == NOTE_NAME:
        note = XenElfNote(kind)
        name = f"XEN_ELFNOTE_{note.name}" if note.known else f"Xen note {kind:#x}"
        return Note(owner, kind, name, _xen_value(note, description), description)
    name = _NAMES.get((owner, kind), f"{owner} note {kind:#x}")
    if name == "LINUX_ELFNOTE_BUILD_SALT":
        return Note(owner, kind, name, _text(description), description)
    if name == "LINUX_ELFNOTE_LTO_INFO":
        return Note(owner, kind, name, _number(description), description)
    return Note(owner, kind, name, description, description)


def _xen_value(note: XenElfNote, description: bytes) -> NoteValue:
    form, size = note_form(note)
    match form:
        case NoteForm.TEXT:
            return _text(description)
        case NoteForm.NUMBER:
            return _number(description)
        case NoteForm.NUMBERS if len(description) % size == 0:
            return tuple(
                int.from_bytes(description[at : at + size], "little")
                for at in range(0, len(description), size)
            )
        case _:
            return description


def _text(description: bytes) -> str:
    return description.rstrip(b"\0").decode("utf-8", "backslashreplace")


def _number(description: bytes) -> NoteValue:
    return int.from_bytes(description, "little") if len(description) in _NUMBER_SIZES else description
