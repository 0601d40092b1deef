# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import gzip
import struct
from pathlib import Path

import pytest

from pvefi.errors import ImageError
from pvefi.image import AddressKind, Decompressor, EntryKind, Image, inspect
from tests.build.arm64 import SPELLED, build_arm64, build_zboot
from tests.build.pe import PAGE, build_pe


def inspected(tmp_path: Path, data: bytes) -> Image:
    path = tmp_path / "Image"
    path.write_bytes(data)
    return inspect(path)


def refused(tmp_path: Path, data: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        inspected(tmp_path, data)
    return str(caught.value)


def test_an_image_is_a_kernel_and_an_efi_program_in_one(tmp_path: Path) -> None:
    image = inspected(tmp_path, build_arm64())
    assert image.kind == "Linux arm64 Image; EFI application for arm64"
    assert [(e.kind, e.bits, e.address, e.file_offset) for e in image.entries] == [
        (EntryKind.EFI_ARM64, 64, PAGE, PAGE),
        (EntryKind.ARM64, 64, 0, 0),
    ]
    assert image.entries[1].address_kind is AddressKind.LOAD_OFFSET
    assert {e.decompressor for e in image.entries} == {Decompressor.NONE}


def test_an_image_without_an_efi_stub_is_a_kernel_too(tmp_path: Path) -> None:
    image = inspected(tmp_path, build_arm64(with_pe=False))
    assert image.kind == "Linux arm64 Image"
    assert [e.kind for e in image.entries] == [EntryKind.ARM64]


@pytest.mark.parametrize(
    ("flags", "page_size", "big_endian", "anywhere"),
    [
        (0b1010, 4096, False, True),
        (0b0110, 65536, False, False),
        (0b1100, 16384, False, True),
        (1, None, True, False),
    ],
)
def test_the_flags_of_an_image_are_decoded(
    tmp_path: Path, flags: int, page_size: int | None, big_endian: bool, anywhere: bool
) -> None:
    arm64 = inspected(tmp_path, build_arm64(flags=flags)).arm64
    assert arm64 is not None
    assert (arm64.page_size, arm64.big_endian, arm64.placed_anywhere) == (page_size, big_endian, anywhere)


def test_the_demands_say_where_the_image_has_to_stand(tmp_path: Path) -> None:
    entry = inspected(tmp_path, build_arm64(text_offset=0x80000, image_size=0x100000)).entry(EntryKind.ARM64)
    assert entry is not None
    assert entry.demands[0] == (
        "the image 0x80000 from a base aligned to 0x200000, anywhere, 0x100000 bytes free from there"
    )


def test_an_image_older_than_3_17_says_no_size_and_stands_at_0x80000(tmp_path: Path) -> None:
    arm64 = inspected(tmp_path, build_arm64(text_offset=0x1234, image_size=0)).arm64
    assert arm64 is not None
    assert (arm64.text_offset, arm64.image_size) == (0x80000, 0)


def test_a_compressed_image_is_looked_into(tmp_path: Path) -> None:
    image = inspected(tmp_path, gzip.compress(build_arm64()))
    assert image.kind == "gzip-compressed Linux arm64 Image; EFI application for arm64"
    assert image.wrapper is not None
    assert image.wrapper.uncompressed_size == len(build_arm64())
    assert image.read() == build_arm64()
    assert [(e.file_offset, e.remark) for e in image.entries] == [
        (None, "the loader decompresses the file (gzip)")
    ] * 2


@pytest.mark.parametrize("compression", SPELLED)
def test_the_image_in_a_zboot_image_is_inspected(tmp_path: Path, compression: str) -> None:
    image = inspected(tmp_path, build_zboot(compression=compression))
    assert image.kind == f"EFI zboot image ({compression}); EFI application for arm64"
    (inner,) = image.embedded
    assert inner.kind == "Linux arm64 Image; EFI application for arm64"
    assert (inner.inside, inner.size) == (f"{compression} payload", len(build_arm64()))
    assert [e.kind for e in inner.entries] == [EntryKind.EFI_ARM64, EntryKind.ARM64]


def test_of_a_large_image_in_a_zboot_image_only_the_start_is_decompressed(tmp_path: Path) -> None:
    inner = build_arm64(text=bytes(3 << 20))
    image = inspected(tmp_path, build_zboot(inner))
    assert image.embedded[0].size == len(inner)
    assert image.embedded[0].sha256 == ""
    assert image.embedded[0].pe is not None
    assert image.embedded[0].pe.file_size == len(inner)


def test_the_entry_of_a_zboot_image_enters_its_decompressor(tmp_path: Path) -> None:
    (entry,) = inspected(tmp_path, build_zboot()).entries
    assert (entry.kind, entry.decompressor) == (EntryKind.EFI_ARM64, Decompressor.ENTERED)


def test_a_zboot_image_of_another_machine_is_read_too(tmp_path: Path) -> None:
    inner = build_pe(machine=0x5064)
    image = inspected(tmp_path, build_zboot(inner, pe={"machine": 0x5064}))
    assert image.embedded[0].kind == "EFI application for RISCV64"


LIES = [
    ({"compression_type": b"brotli"}, "a zboot compression (gzip, lz4, ", "'brotli'"),
    ({"compression_type": b"xzkern"}, "a xz payload, as the zboot header says", "gzip"),
    ({"payload_offset": 0x7FFFFFFF}, "a zboot payload within the file", "at 0x7fffffff"),
    ({"payload_size": 0xFFFFFFFF}, "a zboot payload within the file", "0xffffffff bytes"),
    ({"payload_size": 0}, "a zboot payload within the file", "0x0 bytes"),
    ({"payload_offset": 0x500}, "a gzip payload, as the zboot header says", "none"),
]


@pytest.mark.parametrize(("fields", "expected", "found"), LIES, ids=[repr(fields) for fields, _, _ in LIES])
def test_a_zboot_header_that_lies_is_refused(
    tmp_path: Path, fields: dict[str, int], expected: str, found: str
) -> None:
    text = refused(tmp_path, build_zboot(**fields))  # type: ignore[arg-type]  # by name
    assert expected in text
    assert found in text


def test_a_bomb_in_a_zboot_image_is_refused(tmp_path: Path) -> None:
    assert "a decompression bomb" in refused(tmp_path, build_zboot(declared_size=(1 << 30) + 1))
    assert "a decompression bomb" in refused(tmp_path, build_zboot(compression="xz", declared_size=0x1000))


def test_a_payload_that_is_no_image_is_refused(tmp_path: Path) -> None:
    text = refused(tmp_path, build_zboot(b"Hello, world\n" * 10))
    assert ": gzip payload: expected a PE image" in text
    assert text.endswith("found a text file")


def test_images_in_images_without_end_are_refused(tmp_path: Path) -> None:
    data = build_arm64()
    for _ in range(4):
        data = build_zboot(data)
    assert "images at most 4 deep in each other" in refused(tmp_path, data)


def test_a_zboot_mark_outside_of_a_pe_image_means_nothing(tmp_path: Path) -> None:
    data = struct.pack("<I4s", 0x5A4D, b"zimg") + bytes(0x100)
    assert "a DOS program" in refused(tmp_path, data)
