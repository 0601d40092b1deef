# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import struct

import pytest

from pvefi.errors import ImageError
from pvefi.image.notes import MAX_NOTES, Note, NoteValue, parse_notes
from pvefi.spec.xen.elfnote import XenElfNote, feature_names
from tests.build.elf import note


def parsed(data: bytes, alignment: int = 4) -> list[Note]:
    return list(parse_notes("k", data, 0x1000, alignment))


def test_a_type_is_named_by_its_owner() -> None:
    """Type 3 is a build id of GNU's, and the virtual base of Xen's; readelf mixes such up."""
    gnu, xen, linux = parsed(
        note("GNU", 3, b"\x01\x02") + note("Xen", 3, bytes(8)) + note("Linux", 0x100, b"6.1\0")
    )
    assert (gnu.name, gnu.value) == ("NT_GNU_BUILD_ID", b"\x01\x02")
    assert (xen.name, xen.value) == ("XEN_ELFNOTE_VIRT_BASE", 0)
    assert (linux.name, linux.value) == ("LINUX_ELFNOTE_BUILD_SALT", "6.1")


XEN_NOTES: list[tuple[XenElfNote, bytes, NoteValue]] = [
    (XenElfNote.ENTRY, struct.pack("<Q", 0xFFFFFFFF8304E1C0), 0xFFFFFFFF8304E1C0),
    (XenElfNote.PHYS32_ENTRY, struct.pack("<I", 0x1000850), 0x1000850),
    (XenElfNote.PHYS32_ENTRY, struct.pack("<Q", 0x1000850), 0x1000850),
    (XenElfNote.PHYS32_RELOC, struct.pack("<3I", 0x200000, 0, 0x3FFFFFFF), (0x200000, 0, 0x3FFFFFFF)),
    (XenElfNote.PHYS32_RELOC, b"", ()),
    (XenElfNote.GUEST_OS, b"linux\0", "linux"),
    (XenElfNote.FEATURES, b"!writable_page_tables\0", "!writable_page_tables"),
    (XenElfNote.L1_MFN_VALID, struct.pack("<2Q", 1, 1), (1, 1)),
    (XenElfNote.ENTRY, b"\x01\x02\x03", b"\x01\x02\x03"),
    (XenElfNote.PHYS32_RELOC, b"\x01\x02\x03", b"\x01\x02\x03"),
]


@pytest.mark.parametrize(("kind", "description", "value"), XEN_NOTES)
def test_xen_notes_are_decoded_by_their_form(kind: XenElfNote, description: bytes, value: NoteValue) -> None:
    (found,) = parsed(note("Xen", kind, description))
    assert found.name == f"XEN_ELFNOTE_{kind.name}"
    assert found.value == value
    assert found.is_xen(kind)


def test_unknown_notes_survive() -> None:
    xen, other = parsed(note("Xen", 0x77, b"abcd") + note("stapsdt", 3, b"x"))
    assert (xen.name, xen.value) == ("Xen note 0x77", b"abcd")
    assert (other.name, other.value) == ("stapsdt note 0x3", b"x")


def test_notes_of_eight_byte_alignment_are_walked() -> None:
    data = note("GNU", 5, bytes(12), alignment=8) + note("GNU", 3, bytes(20), alignment=8)
    assert [n.type for n in parsed(data, 8)] == [5, 3]


def test_padding_at_the_end_is_no_note() -> None:
    assert len(parsed(note("GNU", 3, b"x") + bytes(8))) == 1


@pytest.mark.parametrize(
    "data",
    [
        struct.pack("<3I", 0xFFFFFFFF, 0, 0) + bytes(8),
        struct.pack("<3I", 4, 0xFFFFFFFF, 0) + bytes(8),
        struct.pack("<3I", 4, 100, 0) + bytes(8),
    ],
)
def test_a_note_past_its_segment_is_refused(data: bytes) -> None:
    with pytest.raises(ImageError, match="a note within its segment"):
        parsed(data)


def test_endless_notes_are_refused() -> None:
    with pytest.raises(ImageError, match=f"at most {MAX_NOTES} notes"):
        parsed(bytes(12) * (MAX_NOTES + 1))


def test_features_are_told_by_name() -> None:
    assert feature_names(0x8801) == ["writable_page_tables", "dom0", "linux_rsdp_unrestricted"]
    assert feature_names(1 << 31) == ["bit 31"]
