# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from pvefi.errors import ImageError
from pvefi.image import AddressKind, EntryKind, Image, inspect
from pvefi.spec.multiboot import MultibootFlag
from pvefi.spec.multiboot2 import Architecture, HeaderTag
from tests.build.elf import CODE, PHYSICAL, VIRTUAL, Load, build_elf, note
from tests.build.multiboot import (
    ADDRESS,
    KLUDGE,
    VIDEO,
    multiboot2_header,
    multiboot_binary,
    multiboot_header,
    tag,
)
from tests.build.pe import PeSection, build_pe

EFI64, EFI_BOOT_SERVICES = 9, 7
XEN_TAGS = (
    tag(1, 4, 6),
    tag(6),
    tag(10, 0x200000, 0xFFFFFFFF, 0x200000, 2, optional=True),
    tag(EFI_BOOT_SERVICES, optional=True),
    tag(EFI64, PHYSICAL + 0x31, optional=True),
)
"""As Xen 4.17 has them."""


def inspected(tmp_path: Path, data: bytes) -> Image:
    path = tmp_path / "file"
    path.write_bytes(data)
    return inspect(path)


def kernel(header: bytes, *, notes: bytes = b"", before: int = 12, **fields: Any) -> bytes:
    """Return an ELF kernel with a header in its code, which begins at a multiple of 8 plus 8 in the file."""
    code = bytes(before) + header
    return build_elf([Load(code + CODE)], notes or note("GNU", 3, bytes(20)), bits=32, **fields)


def refused(tmp_path: Path, data: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        inspected(tmp_path, data)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_elf_with_a_multiboot_header_is_a_kernel_without_any_note(tmp_path: Path) -> None:
    image = inspected(tmp_path, kernel(multiboot_header()))
    assert image.kind == "ELF kernel, 32-bit, I386; kernel for multiboot"
    assert image.multiboot is not None
    assert image.multiboot.flags == MultibootFlag.PAGE_ALIGN | MultibootFlag.MEMORY_INFO
    assert (image.multiboot.addresses, image.multiboot.entry_address) == (None, None)


def test_a_multiboot_entry_of_an_elf_is_the_elf_s_own(tmp_path: Path) -> None:
    entry = inspected(tmp_path, kernel(multiboot_header(), entry=PHYSICAL + 5)).entry(EntryKind.MULTIBOOT)
    assert entry is not None
    assert (entry.bits, entry.address, entry.address_kind) == (32, PHYSICAL + 5, AddressKind.PHYSICAL)
    assert entry.file_offset == 52 + 2 * 32 + 5


def test_a_virtual_entry_is_told_by_its_physical_address(tmp_path: Path) -> None:
    data = kernel(multiboot_header(), entry=(VIRTUAL + 8) & 0xFFFFFFFF)
    entry = inspected(tmp_path, data).entry(EntryKind.MULTIBOOT)
    assert entry is not None
    assert entry.address == PHYSICAL + 8


def test_any_file_is_loaded_as_its_header_says(tmp_path: Path) -> None:
    image = inspected(tmp_path, multiboot_binary(at=0x40))
    assert image.kind == "kernel for multiboot"
    assert image.multiboot is not None
    assert image.multiboot.addresses is not None
    assert image.multiboot.addresses.file_offset == 0
    entry = image.entry(EntryKind.MULTIBOOT)
    assert entry is not None
    assert (entry.address, entry.file_offset) == (ADDRESS + 0x80, 0x80)
    assert entry.demands[0] == "the file loaded by the addresses in the header"


def test_the_header_s_place_in_the_file_ties_offsets_to_addresses(tmp_path: Path) -> None:
    """As in GRUB's own image, of which 0x200 bytes are not loaded."""
    data = multiboot_binary(at=0x240, header_addr=ADDRESS + 0x40, load_end_addr=0, bss_end_addr=0)
    image = inspected(tmp_path, data)
    assert image.multiboot is not None
    assert image.multiboot.addresses is not None
    assert image.multiboot.addresses.file_offset == 0x200
    assert image.entries[0].file_offset == 0x280


def test_an_elf_with_addresses_in_its_header_is_loaded_by_them(tmp_path: Path) -> None:
    at = 52 + 2 * 32 + 12
    header = multiboot_header(
        KLUDGE, header_addr=ADDRESS + at, load_addr=ADDRESS, load_end_addr=0, entry_addr=ADDRESS + at + 48
    )
    entry = inspected(tmp_path, kernel(header)).entry(EntryKind.MULTIBOOT)
    assert entry is not None
    assert (entry.address, entry.file_offset) == (ADDRESS + at + 48, at + 48)


def test_a_wish_for_a_video_mode_is_read(tmp_path: Path) -> None:
    image = inspected(
        tmp_path, kernel(multiboot_header(VIDEO, mode_type=0, width=1024, height=768, depth=32))
    )
    assert image.multiboot is not None
    assert image.multiboot.graphics is not None
    assert (image.multiboot.graphics.width, image.multiboot.graphics.depth) == (1024, 32)


WRONG = {
    "checksum": multiboot_header(checksum=1),
    "magic": multiboot_header(magic=0x2BADB002),
    "alignment": b"\0\0" + multiboot_header(),
    "place": bytes(8192) + multiboot_header(),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_not_wholly_right_is_no_header(tmp_path: Path, what: str) -> None:
    assert "without a kernel's notes" in refused(tmp_path, kernel(WRONG[what]))


LIES = [
    ({"load_addr": ADDRESS + 0x1000}, "a load address of 0x100000 to 0x100040, .*found 0x101000"),
    ({"load_addr": 0}, "a load address"),
    ({"header_addr": 0x10}, "a load address"),
    ({"load_end_addr": ADDRESS + 0x100000}, "a load end of 0x100000 to 0x101000.*found 0x200000"),
    ({"load_end_addr": 1}, "a load end"),
    ({"bss_end_addr": 1}, "a .bss that ends after the data"),
    (
        {"load_end_addr": 0, "bss_end_addr": ADDRESS + 0x800},
        "a .bss that ends after the data, at 0x101000 or above, found 0x100800",
    ),
    (
        {
            "size": 0x2000,
            "header_addr": 0xFFFFF040,
            "load_addr": 0xFFFFF000,
            "load_end_addr": 0,
            "bss_end_addr": 0,
            "entry_addr": 0xFFFFF080,
        },
        "loaded data that ends at 0x100000000 or below, found 0x100001000",
    ),
    ({"entry_addr": 0}, "a Multiboot entry in what is loaded, 0x100000 to 0x102000, found 0x0"),
    ({"entry_addr": 0xFFFFFFFF}, "a Multiboot entry"),
]


@pytest.mark.parametrize(("fields", "message"), LIES)
def test_addresses_that_point_nowhere_are_refused(
    tmp_path: Path, fields: dict[str, int], message: str
) -> None:
    path = tmp_path / "file"
    path.write_bytes(multiboot_binary(**fields))
    with pytest.raises(ImageError, match=message):
        inspect(path)


@pytest.mark.parametrize("bss_end", [0, ADDRESS + 0x1000, ADDRESS + 0x3000])
def test_a_bss_stands_behind_a_file_that_is_loaded_to_its_end(tmp_path: Path, bss_end: int) -> None:
    image = inspected(tmp_path, multiboot_binary(load_end_addr=0, bss_end_addr=bss_end))
    assert image.multiboot is not None
    assert image.multiboot.addresses is not None
    assert image.multiboot.addresses.end(0x1000) == (bss_end or ADDRESS + 0x1000)


def test_data_may_end_where_32_bit_addresses_do(tmp_path: Path) -> None:
    data = multiboot_binary(
        header_addr=0xFFFFF040,
        load_addr=0xFFFFF000,
        load_end_addr=0,
        bss_end_addr=0,
        entry_addr=0xFFFFF080,
    )
    assert [e.address for e in inspected(tmp_path, data).entries] == [0xFFFFF080]


def test_a_kernel_in_two_gzip_members_is_read_whole(tmp_path: Path) -> None:
    plain = multiboot_binary()
    image = inspected(tmp_path, gzip.compress(plain[:0x200]) + gzip.compress(plain[0x200:]))
    assert image.kind == "gzip-compressed kernel for multiboot"
    assert image.wrapper is not None
    assert image.wrapper.uncompressed_size == len(plain)


def test_a_header_cut_off_is_refused(tmp_path: Path) -> None:
    assert "a whole Multiboot header" in refused(tmp_path, multiboot_binary()[:0x50])


def test_an_elf_entry_outside_its_segments_is_refused(tmp_path: Path) -> None:
    text = refused(tmp_path, kernel(multiboot_header(), entry=0x10))
    assert "an ELF entry point inside a load segment, found 0x10" in text


def test_the_tags_of_a_multiboot2_header_are_read(tmp_path: Path) -> None:
    header = inspected(tmp_path, kernel(multiboot2_header(XEN_TAGS))).multiboot2
    assert header is not None
    assert header.architecture is Architecture.I386
    assert [(t.type, t.optional) for t in header.tags] == [
        (HeaderTag.INFORMATION_REQUEST, False),
        (HeaderTag.MODULE_ALIGN, False),
        (HeaderTag.RELOCATABLE, True),
        (HeaderTag.EFI_BOOT_SERVICES, True),
        (HeaderTag.ENTRY_ADDRESS_EFI64, True),
    ]
    assert header.words(HeaderTag.INFORMATION_REQUEST) == (4, 6)
    assert header.entry(HeaderTag.ENTRY_ADDRESS) is None


def test_a_multiboot2_header_has_an_entry_for_each_way_of_starting(tmp_path: Path) -> None:
    entries = inspected(tmp_path, kernel(multiboot2_header(XEN_TAGS))).entries
    assert [(e.kind, e.bits, e.address) for e in entries] == [
        (EntryKind.MULTIBOOT2, 32, PHYSICAL),
        (EntryKind.MULTIBOOT2, 64, PHYSICAL + 0x31),
    ]
    assert "boot services on" in entries[1].demands[1]
    assert entries[0].remark == (
        "may be moved to 0x200000 to 0xffffffff, aligned to 0x200000, as high as can be"
    )


def test_an_efi_entry_counts_only_with_boot_services(tmp_path: Path) -> None:
    image = inspected(tmp_path, kernel(multiboot2_header([tag(EFI64, PHYSICAL)])))
    assert [e.bits for e in image.entries] == [32]


def test_the_entry_tag_replaces_the_elf_s_entry(tmp_path: Path) -> None:
    image = inspected(tmp_path, kernel(multiboot2_header([tag(3, PHYSICAL + 0x20)]), entry=0))
    assert [e.address for e in image.entries] == [PHYSICAL + 0x20]


def test_a_file_can_be_loaded_by_the_address_tag(tmp_path: Path) -> None:
    at = 0x40
    header = multiboot2_header([tag(2, ADDRESS + at, 0xFFFFFFFF, 0, 0), tag(3, ADDRESS + 0x90)])
    image = inspected(tmp_path, bytes(at) + header + bytes(0x100))
    assert image.kind == "kernel for multiboot2"
    assert [(e.address, e.file_offset) for e in image.entries] == [(ADDRESS + 0x90, 0x90)]


def test_a_header_for_another_cpu_gives_no_entry(tmp_path: Path) -> None:
    notes = note("Linux", 0x100, b"x\0")
    image = inspected(tmp_path, kernel(multiboot2_header(architecture=4), notes=notes))
    assert image.multiboot2 is not None
    assert image.entries == ()


def test_a_pe_image_with_headers_but_no_addresses_has_no_multiboot_entry(tmp_path: Path) -> None:
    """xen.efi is one: no boot loader could load it by them."""
    code = multiboot_header() + multiboot2_header(XEN_TAGS) + bytes(0x100)
    image = inspected(tmp_path, build_pe([PeSection(data=code)]))
    assert image.multiboot is not None
    assert image.multiboot2 is not None
    assert [e.kind for e in image.entries] == [EntryKind.EFI]
    assert image.kind == "EFI application for x86-64"
    assert image.entries[0].remark == (
        "Multiboot and Multiboot2 headers present, but a PE without address fields or an address tag "
        "is not loadable by them"
    )


@pytest.mark.parametrize(
    ("header", "remark"),
    [
        (
            multiboot_header(),
            "Multiboot header present, but a PE without address fields is not loadable by it",
        ),
        (
            multiboot2_header(XEN_TAGS),
            "Multiboot2 header present, but a PE without an address tag is not loadable by it",
        ),
        (multiboot2_header(architecture=4), ""),
        (b"", ""),
    ],
    ids=["multiboot", "multiboot2", "another cpu", "none"],
)
def test_a_remark_says_why_a_pe_has_no_multiboot_entry(tmp_path: Path, header: bytes, remark: str) -> None:
    image = inspected(tmp_path, build_pe([PeSection(data=header + bytes(0x100))]))
    assert [e.remark for e in image.entries] == [remark]


LIES2 = [
    (multiboot2_header(length=0x10000), "a Multiboot2 header within the first 0x8000 bytes"),
    (multiboot2_header(length=8), "a Multiboot2 header within"),
    (multiboot2_header(end=False), "Multiboot2 tags that end with an END tag"),
    (multiboot2_header([tag(6, size=0)]), "a Multiboot2 tag of 8 to 16 bytes, found one of 0"),
    (multiboot2_header([tag(6, size=0xFFFFFFF0)]), "a Multiboot2 tag of 8 to 16 bytes"),
    (multiboot2_header([tag(2, 1)]), "a Multiboot2 ADDRESS tag of 4 words, found 1"),
    (multiboot2_header([tag(0x55)] * 300), "at most 256 Multiboot2 tags"),
    (multiboot2_header([tag(3, 0x10)]), "a Multiboot2 entry inside a load segment, found 0x10"),
    (multiboot2_header([tag(7), tag(9, 0)]), "a Multiboot2 entry inside a load segment, found 0x0"),
    (multiboot2_header([tag(2, 0, ADDRESS, 0, 0)]), "a load address"),
]


@pytest.mark.parametrize(("header", "message"), LIES2, ids=[message for _, message in LIES2])
def test_a_multiboot2_header_that_lies_is_refused(tmp_path: Path, header: bytes, message: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(kernel(header))
    with pytest.raises(ImageError, match=message):
        inspect(path)
