# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import struct
from typing import Any

import pytest

from pvefi.errors import ImageError
from pvefi.image.pe import parse_pe
from pvefi.image.pe_load import HEADERS, Segment, check_loadable, mapped_segments
from pvefi.image.relocations import Relocation, relocations
from pvefi.spec.pe import Machine
from tests.build.pe import CODE, HEADER_SIZE, PAGE, PeSection, build_pe, reloc_section, relocation_block

ABSOLUTE, HIGH, HIGHLOW, DIR64 = 0, 1, 3, 10
BASE = 0xFFFF82D040000000
POINTERS = struct.pack("<QI4x", BASE + 0x1234, 0x40001234).ljust(0x200, b"\0")


def image_with(blocks: bytes, **fields: Any) -> bytes:
    return build_pe([PeSection(data=POINTERS), reloc_section(blocks)], **fields)


def load(data: bytes, base: int) -> tuple[Segment, ...]:
    return mapped_segments(parse_pe("f.efi", data), data, base)


def refused(data: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        load(data, 0x4000000)
    return str(caught.value)


def test_headers_and_sections_come_at_their_rvas() -> None:
    headers, text = load(build_pe(), 0)
    assert (headers.name, headers.rva, len(headers.data)) == (HEADERS, 0, HEADER_SIZE)
    assert (text.name, text.rva, bytes(text.data)) == (".text", PAGE, CODE)


def test_what_needs_no_relocation_is_not_copied() -> None:
    data = build_pe()
    assert all(segment.data.obj is data for segment in load(data, 0))


def test_zero_fill_is_a_size_and_not_bytes() -> None:
    bss = PeSection(b".bss", b"", 0xC0000080, virtual_size=0x7000_0000)
    _, _, zero = load(build_pe([PeSection(), bss]), 0x100000)
    assert (len(zero.data), zero.memory_size) == (0, 0x7000_0000)


def test_raw_data_past_the_virtual_size_is_not_loaded() -> None:
    _, text = load(build_pe([PeSection(data=bytes(0x200), virtual_size=0x123)]), 0)
    assert len(text.data) == 0x123


def test_relocations_are_applied_for_the_base() -> None:
    blocks = relocation_block(PAGE, (DIR64, 0), (HIGHLOW, 8), (ABSOLUTE, 0), (ABSOLUTE, 0))
    _, text, _ = load(image_with(blocks, image_base=BASE), 0x4000000)
    wide, narrow = struct.unpack_from("<QI", text.data)
    assert wide == 0x4000000 + 0x1234
    assert narrow == (0x40001234 + 0x4000000 - BASE) & 0xFFFFFFFF


def test_at_its_own_base_an_image_is_left_alone() -> None:
    blocks = relocation_block(PAGE, (DIR64, 0))
    _, text, _ = load(image_with(blocks, image_base=BASE), BASE)
    assert bytes(text.data) == POINTERS


def test_a_moved_image_says_its_new_base_in_its_header() -> None:
    data = build_pe(image_base=0x200000)
    headers, _ = load(data, 0x4000000)
    assert parse_pe("f", bytes(headers.data) + data[HEADER_SIZE:]).image_base == 0x4000000


def test_an_image_without_relocation_table_runs_anywhere() -> None:
    """So do Linux and syslinux: IMAGE_FILE_RELOCS_STRIPPED is not set."""
    assert load(build_pe(), 0x4000000)


def test_an_image_with_stripped_relocations_is_not_moved() -> None:
    assert "an image that can be moved" in refused(build_pe(characteristics=0x0207))


def test_relocations_are_iterated_lazily() -> None:
    data = image_with(relocation_block(PAGE, (DIR64, 0)) + relocation_block(PAGE, (HIGH, 0)))
    places = relocations(parse_pe("f", data), data)
    assert next(places) == Relocation(PAGE, 8)
    with pytest.raises(ImageError, match="type 1"):
        next(places)


BLOCKS_THAT_LIE = [
    (relocation_block(PAGE, (DIR64, 0), size=0), "found size 0"),
    (relocation_block(PAGE, (DIR64, 0), size=4), "found size 4"),
    (relocation_block(PAGE, (DIR64, 0), size=9), "found size 9"),
    (relocation_block(PAGE, (DIR64, 0), size=0x1000), "a relocation block within its table"),
    (relocation_block(PAGE, (DIR64, 0), size=0xFFFFFFFE), "a relocation block within its table"),
    (relocation_block(0x10000000, (DIR64, 0)), "a relocation block inside the image"),
    (relocation_block(PAGE, (DIR64, 0x1FC)), "where .text holds none"),
    (relocation_block(PAGE, (DIR64, 0xFF8)), "where .text holds none"),
    (relocation_block(PAGE, (HIGH, 0)), "ABSOLUTE, HIGHLOW or DIR64"),
    (relocation_block(PAGE, (15, 0)), "ABSOLUTE, HIGHLOW or DIR64"),
    (relocation_block(PAGE) + b"\0\0", "a whole relocation block header"),
]


@pytest.mark.parametrize(("blocks", "message"), BLOCKS_THAT_LIE)
def test_a_relocation_table_that_lies_is_refused(blocks: bytes, message: str) -> None:
    assert message in refused(image_with(blocks))


@pytest.mark.parametrize(
    "fields", [{"basereloc_address": 0x10000000}, {"basereloc_size": 0xFFFFFFFF}, {"basereloc_size": 0x2000}]
)
def test_a_relocation_directory_outside_the_file_is_refused(fields: dict[str, int]) -> None:
    data = image_with(relocation_block(PAGE, (DIR64, 0)), **fields)
    assert "a base relocation table inside one section" in refused(data)


def test_a_loadable_image_is_for_x86_64_and_efi_and_has_an_entry() -> None:
    check_loadable(parse_pe("f", build_pe()))
    with pytest.raises(ImageError, match=r"for AMD64 \(0x8664\), found one for ARM64"):
        check_loadable(parse_pe("f", build_pe(machine=Machine.ARM64)))
    with pytest.raises(ImageError, match="an EFI subsystem"):
        check_loadable(parse_pe("f", build_pe(subsystem=2)))
    with pytest.raises(ImageError, match="AddressOfEntryPoint 0"):
        check_loadable(parse_pe("f", build_pe(address_of_entry_point=0)))
