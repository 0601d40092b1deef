# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import struct
from typing import Any

import pytest

from pvefi.errors import ImageError
from pvefi.image.note_places import NotePlace, note_segments
from pvefi.image.payload import PlainStream
from pvefi.image.vmlinux import Vmlinux, read_vmlinux
from pvefi.spec.xen.elfnote import XenElfNote
from tests.build.elf import PHYSICAL, build_elf, linux_notes

NOTE = 4


def read(data: bytes) -> Vmlinux:
    return read_vmlinux("vmlinux", PlainStream(data))


def with_section(notes: bytes, **section: int) -> bytes:
    """Return an ELF without a note segment whose notes stand in a section."""
    at = len(build_elf(notes=b""))
    values = {"name": 0, "type": 7, "flags": 0, "address": 0, "offset": at, "size": len(notes)}
    values |= {"link": 0, "info": 0, "alignment": 4, "entry_size": 0} | section
    header = struct.pack("<IIQQQQIIQQ", *values.values())
    table = at + len(notes)
    fields: dict[str, Any] = {"section_offset": table, "section_header_size": 64, "section_count": 1}
    return build_elf(notes=b"", **fields) + notes + header


def test_notes_are_taken_from_sections_where_no_segment_has_any() -> None:
    assert read(with_section(linux_notes())).xen_number(XenElfNote.PHYS32_ENTRY) == PHYSICAL + 0x50


def test_sections_of_other_types_have_no_notes() -> None:
    assert read(with_section(linux_notes(), type=1)).notes == ()


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"offset": 1 << 40}, "notes within the kernel's"),
        ({"size": 1 << 19}, "notes within the kernel's"),
        ({"size": 1 << 40}, "a note segment of at most 0x100000 bytes"),
    ],
)
def test_a_note_section_that_lies_is_refused(section: dict[str, int], message: str) -> None:
    with pytest.raises(ImageError, match=message):
        read(with_section(linux_notes(), **section))


def test_a_section_table_that_is_cut_off_is_not_needed() -> None:
    assert read(with_section(linux_notes())[:-1]).notes == ()


def test_note_segments_that_overlap_are_refused() -> None:
    """Each of 1024 of them could hold the same 1024 notes."""
    one = build_elf()
    header = struct.unpack_from("<IIQQQQQQ", one, 64 + 56)
    program = struct.pack("<IIQQQQQQ", *header)
    count = 900
    moved = [value + 56 * count if at == 2 else value for at, value in enumerate(header)]
    data = bytearray(one[: 64 + 56] + struct.pack("<IIQQQQQQ", *moved) * (count + 1) + one[64 + 2 * 56 :])
    struct.pack_into("<H", data, 56, 2 + count)
    struct.pack_into("<Q", data, 64 + 8, 0)
    struct.pack_into("<Q", data, 64 + 32, 0)
    assert len(program) == 56
    with pytest.raises(ImageError, match="notes that do not overlap"):
        read(bytes(data))


def test_notes_without_end_are_refused() -> None:
    with pytest.raises(ImageError, match="at most 1024 notes"):
        read(build_elf(notes=struct.pack("<3I", 0, 0, 1) * 2000))


def test_places_are_sorted_by_offset() -> None:
    places = note_segments("x", 0, 0x1000, [])
    assert places == []
    assert NotePlace(1, 2, 4) < NotePlace(2, 1, 4)
