# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

from typing import Any

import pytest

from pvefi.errors import ImageError
from pvefi.image.pe import CompatImage, has_pe_header, parse_pe
from pvefi.spec.pe import Characteristic, DllCharacteristic, Machine, SectionCharacteristic, Subsystem
from tests.build.pe import CODE, HEADER_SIZE, PAGE, PeSection, build_pe, compat_section, reloc_section


def refused(data: bytes) -> ImageError:
    with pytest.raises(ImageError) as caught:
        parse_pe("file.efi", data)
    return caught.value


def test_all_that_a_loader_needs_is_read() -> None:
    image = parse_pe("file.efi", build_pe(image_base=0x200000, dll_characteristics=0x100))
    assert image.machine is Machine.AMD64
    assert image.subsystem is Subsystem.EFI_APPLICATION
    assert image.bits == 64
    assert image.entry_rva == PAGE
    assert image.image_base == 0x200000
    assert (image.section_alignment, image.file_alignment) == (PAGE, 0x200)
    assert (image.size_of_image, image.size_of_headers) == (2 * PAGE, HEADER_SIZE)
    assert Characteristic.EXECUTABLE_IMAGE in image.characteristics
    assert image.dll_characteristics is DllCharacteristic.NX_COMPAT
    assert image.nx_compatible
    assert image.relocatable


def test_sections_are_read_with_their_place_in_file_and_memory() -> None:
    (section,) = parse_pe("file.efi", build_pe()).sections
    assert section.name == ".text"
    assert (section.virtual_address, section.virtual_size) == (PAGE, len(CODE))
    assert (section.raw_offset, section.raw_size) == (HEADER_SIZE, len(CODE))
    assert SectionCharacteristic.MEM_EXECUTE in section.characteristics


def test_a_name_of_eight_letters_needs_no_terminator() -> None:
    (section,) = parse_pe("f", build_pe([PeSection(b".sdmagic")])).sections
    assert section.name == ".sdmagic"


def test_a_name_that_is_no_text_survives_as_escapes() -> None:
    (section,) = parse_pe("f", build_pe([PeSection(b"\xff\xfe")])).sections
    assert section.name == "\\xff\\xfe"


def test_a_compat_section_gives_a_second_entry() -> None:
    image = parse_pe("f", build_pe([PeSection(), compat_section(entry=PAGE + 2)]))
    assert image.compat == (CompatImage(Machine.I386, PAGE + 2),)


def test_compat_entries_of_unknown_type_are_passed_over() -> None:
    assert parse_pe("f", build_pe([PeSection(), compat_section(kind=7)])).compat == ()


def test_a_machine_without_a_name_is_kept_as_a_number() -> None:
    assert parse_pe("f", build_pe(machine=0x1234)).machine == 0x1234


def test_raw_data_may_pass_the_virtual_size() -> None:
    """The GNU linker pads raw data to FileAlignment (xen.efi, GRUB)."""
    (section,) = parse_pe("f", build_pe([PeSection(data=bytes(0x200), virtual_size=0x123)])).sections
    assert (section.file_size, section.memory_size) == (0x123, 0x123)


def test_a_virtual_size_of_zero_means_the_raw_size() -> None:
    (section,) = parse_pe("f", build_pe([PeSection(data=bytes(0x200), virtual_size=0)])).sections
    assert section.memory_size == 0x200


def test_size_of_image_may_pass_the_last_section() -> None:
    """syslinux keeps its .bss there."""
    assert parse_pe("f", build_pe(size_of_image=0x245308)).size_of_image == 0x245308


def test_a_section_may_be_all_zero_fill() -> None:
    bss = PeSection(b".bss", b"", 0xC0000080, virtual_size=0x97000)
    assert parse_pe("f", build_pe([PeSection(), bss])).sections[1].file_size == 0


@pytest.mark.parametrize("alignment", [0x20, 0x40, 0x200, 0x200000])
def test_section_alignments_of_real_images_are_taken(alignment: int) -> None:
    assert parse_pe("f", build_pe(section_alignment=alignment)).section_alignment == alignment


def test_file_offsets_are_found_for_headers_sections_and_not_for_zero_fill() -> None:
    image = parse_pe("f", build_pe([PeSection(data=bytes(0x200), virtual_size=0x800)]))
    assert image.file_offset(0x10) == 0x10
    assert image.file_offset(PAGE + 0x10) == HEADER_SIZE + 0x10
    assert image.file_offset(PAGE + 0x300) is None
    assert image.file_offset(0x900) is None


FIELDS_THAT_LIE: list[tuple[dict[str, Any], str]] = [
    ({"size_of_image": 0xFFFFFFFF}, "SizeOfImage below 2 GiB"),
    ({"size_of_image": 0xFFFFF000}, "SizeOfImage below 2 GiB"),
    ({"size_of_image": PAGE}, "SizeOfImage that covers section .text"),
    ({"size_of_image": 0}, "SizeOfImage larger than SizeOfHeaders"),
    ({"size_of_headers": 0x10000000}, "SizeOfHeaders within the file"),
    ({"size_of_headers": 0}, "SizeOfHeaders that covers the section table"),
    ({"address_of_entry_point": 0xDEAD0}, "AddressOfEntryPoint inside a section"),
    ({"address_of_entry_point": 0x10}, "AddressOfEntryPoint inside a section"),
    ({"section_alignment": 0}, "SectionAlignment that is a power of two"),
    ({"section_alignment": 0x1001}, "SectionAlignment that is a power of two"),
    ({"magic": 0x107}, "PE32 (0x10b) or PE32+ (0x20b)"),
    ({"number_of_sections": 0xFFFF}, "65535 section headers"),
    ({"size_of_optional_header": 0xFFFF}, "section headers"),
]


@pytest.mark.parametrize(("fields", "expected"), FIELDS_THAT_LIE)
def test_a_header_that_lies_is_refused_by_name(fields: dict[str, Any], expected: str) -> None:
    assert expected in str(refused(build_pe(**fields)))


def test_a_section_past_the_end_of_the_file_is_refused() -> None:
    error = refused(build_pe([PeSection(raw_offset=0x10000)]))
    assert "section .text within the file" in str(error)
    assert "truncated or its header is corrupt" in str(error)


def test_a_section_whose_size_wraps_is_refused() -> None:
    refused(build_pe([PeSection(raw_size=0xFFFFFFFF)]))
    refused(build_pe([PeSection(virtual_size=0xFFFFFFFF)], size_of_image=2 * PAGE))
    refused(build_pe([PeSection(virtual_address=0xFFFFF000)], size_of_image=2 * PAGE))


def test_overlapping_sections_are_refused() -> None:
    error = refused(build_pe([PeSection(), PeSection(b".data", virtual_address=PAGE + 0x100)]))
    assert "do not overlap (.text ends at RVA 0x1200)" in str(error)


def test_a_compat_entry_of_size_zero_does_not_loop() -> None:
    assert "size 0" in str(refused(build_pe([PeSection(), compat_section(size=0)])))


def test_a_compat_entry_outside_the_sections_is_refused() -> None:
    assert ".compat entry" in str(refused(build_pe([PeSection(), compat_section(entry=0xDEAD000)])))


@pytest.mark.parametrize("length", [0x3F, 0x41, 0x50, 0x80, 0x100, 0x200, HEADER_SIZE, HEADER_SIZE + 0x1FF])
def test_a_truncated_file_is_refused(length: int) -> None:
    data = build_pe(length=length)
    if has_pe_header(data):
        refused(data)


def test_the_header_offset_may_be_anywhere_in_the_file_but_not_outside() -> None:
    assert has_pe_header(build_pe(lfanew=0x100))
    assert not has_pe_header(build_pe(e_lfanew=0xFFFFFFF0))
    assert not has_pe_header(b"MZ")
    assert not has_pe_header(b"")


def test_a_relocation_directory_is_told() -> None:
    image = parse_pe("f", build_pe([PeSection(), reloc_section(bytes(12))]))
    assert image.relocation_table == (2 * PAGE, 12)
    assert not parse_pe("f", build_pe(characteristics=0x0207)).relocatable
