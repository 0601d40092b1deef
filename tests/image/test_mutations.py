# SPDX-License-Identifier: GPL-2.0-or-later
"""Whatever stands in a header, an Image or an ImageError comes out, and nothing else."""

from __future__ import annotations

import json
import struct
import tempfile
import tracemalloc
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvefi.errors import ImageError
from pvefi.image import Image, inspect
from pvefi.image.pe_load import mapped_segments
from pvefi.report.inspect import image_lines
from pvefi.report.inspect_json import inspect_to_json
from tests.build.arm64 import ARM64_FIELDS, ZBOOT_FIELDS, build_arm64, build_zboot
from tests.build.bzimage import SETUP_FIELDS, build_bzimage, compress, lzop
from tests.build.cpio import archive
from tests.build.elf import ELF64_FIELDS, PROGRAM64_FIELDS, Load, build_elf
from tests.build.multiboot import MULTIBOOT_FIELDS, multiboot2_header, multiboot_binary, tag
from tests.build.pe import (
    HEADER_FIELDS,
    PAGE,
    SECTION_FIELDS,
    PeSection,
    build_pe,
    compat_section,
    reloc_section,
    relocation_block,
)
from tests.build.signature import sign, table_entry, with_table

MEMORY_AT_MOST = 32 << 20
EXAMPLES = 10

DIR64, HIGHLOW = 10, 3
SOUND_PE = [
    PeSection(),
    reloc_section(relocation_block(PAGE, (DIR64, 0), (HIGHLOW, 8))),
    compat_section(),
]


def bits_of(code: str) -> int:
    return 8 * struct.calcsize("<" + code)


def numbers(bits: int) -> st.SearchStrategy[int]:
    top = (1 << bits) - 1
    near = [0, 1, 2, 3, 7, 8, top, top - 1, top >> 1, (top >> 1) + 1, 0xFFF & top, 0x1000 & top, 0x200 & top]
    return st.one_of(st.sampled_from(near), st.integers(0, top), st.integers(0, min(top, 0x4000)))


def wire(code: str) -> st.SearchStrategy[Any]:
    if code.endswith("s"):
        size = int(code[:-1])
        return st.binary(min_size=size, max_size=size)
    return numbers(bits_of(code))


def survives(data: bytes, *, reported: bool = False) -> None:
    """Inspect, map and perhaps report `data`: ImageError is the only exception, memory stays bounded."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        path.write_bytes(data)
        tracemalloc.start()
        try:
            with suppress(ImageError):
                _through(path, data, reported=reported)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < MEMORY_AT_MOST


def _through(path: Path, data: bytes, *, reported: bool) -> None:
    image: Image = inspect(path)
    if reported:
        assert image_lines(image)
        assert json.dumps(inspect_to_json([image], []))
    if image.pe is not None:
        segments = mapped_segments(image.pe, data, 0x12340000)
        assert all(len(segment.data) <= segment.memory_size for segment in segments)
        assert all(segment.rva + segment.memory_size <= image.pe.size_of_image for segment in segments)


@pytest.mark.parametrize("field", [name for name in HEADER_FIELDS if name != "dos_pad"])
def test_any_value_in_a_field_of_a_pe_header(field: str) -> None:
    @settings(max_examples=EXAMPLES)
    @given(wire(HEADER_FIELDS[field]))
    def check(value: Any) -> None:
        survives(build_pe(SOUND_PE, **{field: value}))

    check()


@pytest.mark.parametrize("field", SECTION_FIELDS)
def test_any_value_in_a_field_of_a_section_header(field: str) -> None:
    @settings(max_examples=EXAMPLES)
    @given(wire(SECTION_FIELDS[field]), st.integers(0, 2))
    def check(value: Any, which: int) -> None:
        sections = list(SOUND_PE)
        old = sections[which]
        sections[which] = PeSection(**{**vars(old), field: value})
        survives(build_pe(sections, size_of_image=0x10000))

    check()


@settings(max_examples=5 * EXAMPLES)
@given(st.binary(max_size=64), numbers(32))
def test_any_bytes_as_relocations(blocks: bytes, image_base: int) -> None:
    survives(build_pe([PeSection(), reloc_section(blocks)], image_base=image_base))


@settings(max_examples=5 * EXAMPLES)
@given(st.binary(max_size=32))
def test_any_bytes_as_compat_entries(data: bytes) -> None:
    survives(build_pe([PeSection(), PeSection(b".compat", data.ljust(32, b"\0"))]))


@pytest.mark.parametrize("field", SETUP_FIELDS)
def test_any_value_in_a_field_of_a_setup_header(field: str) -> None:
    @settings(max_examples=EXAMPLES)
    @given(numbers(SETUP_FIELDS[field]))
    def check(value: Any) -> None:
        survives(build_bzimage(**{field: value}))

    check()


@pytest.mark.parametrize("field", [name for name in HEADER_FIELDS if name != "dos_pad"])
def test_any_value_in_a_field_of_a_kernels_pe_header(field: str) -> None:
    @settings(max_examples=EXAMPLES // 2)
    @given(wire(HEADER_FIELDS[field]))
    def check(value: Any) -> None:
        survives(build_bzimage(pe={field: value}))

    check()


@pytest.mark.parametrize("field", ELF64_FIELDS)
def test_any_value_in_a_field_of_an_elf_header(field: str) -> None:
    @settings(max_examples=EXAMPLES)
    @given(wire(ELF64_FIELDS[field]), st.booleans())
    def check(value: Any, packed: bool) -> None:
        vmlinux = build_elf(**{field: value})
        survives(build_bzimage(vmlinux) if packed else vmlinux)

    check()


@pytest.mark.parametrize("field", PROGRAM64_FIELDS)
def test_any_value_in_a_field_of_a_program_header(field: str) -> None:
    @settings(max_examples=EXAMPLES)
    @given(wire(PROGRAM64_FIELDS[field]), st.booleans())
    def check(value: int, packed: bool) -> None:
        vmlinux = build_elf(program={field: value})
        survives(build_bzimage(vmlinux) if packed else vmlinux)

    check()


@settings(max_examples=5 * EXAMPLES)
@given(st.binary(max_size=100))
def test_any_bytes_as_notes(notes: bytes) -> None:
    survives(build_elf(notes=notes))


@pytest.mark.parametrize("field", ARM64_FIELDS)
def test_any_value_in_a_field_of_an_arm64_image(field: str) -> None:
    @settings(max_examples=EXAMPLES)
    @given(wire(ARM64_FIELDS[field]))
    def check(value: Any) -> None:
        survives(build_arm64(**{field: value}))

    check()


@pytest.mark.parametrize("field", ZBOOT_FIELDS)
def test_any_value_in_a_field_of_a_zboot_header(field: str) -> None:
    @settings(max_examples=EXAMPLES)
    @given(wire(ZBOOT_FIELDS[field]))
    def check(value: Any) -> None:
        survives(build_zboot(**{field: value}))

    check()


@pytest.mark.parametrize("field", MULTIBOOT_FIELDS)
def test_any_value_in_a_field_of_a_multiboot_header(field: str) -> None:
    @settings(max_examples=EXAMPLES)
    @given(wire(MULTIBOOT_FIELDS[field]))
    def check(value: int) -> None:
        survives(multiboot_binary(**{field: value}))

    check()


@settings(max_examples=5 * EXAMPLES)
@given(
    st.lists(
        st.builds(
            tag,
            st.integers(0, 12),
            numbers(32),
            numbers(32),
            numbers(32),
            numbers(32),
            size=st.none() | numbers(32),
        ),
        max_size=5,
    ),
    st.none() | numbers(32),
    st.booleans(),
)
def test_any_tags_in_a_multiboot2_header(tags: list[bytes], length: int | None, in_elf: bool) -> None:
    header = multiboot2_header(tags, length=length)
    survives(build_elf([Load(bytes(8) + header)]) if in_elf else bytes(64) + header + bytes(64))


@settings(max_examples=5 * EXAMPLES)
@given(numbers(32), numbers(32), st.none() | numbers(32), st.integers(0, 0xFFFF), st.binary(max_size=40))
def test_any_certificate_table(
    address: int, size: int, length: int | None, kind: int, content: bytes
) -> None:
    table = table_entry(content, length=length, kind=kind)
    survives(with_table(build_pe(), table, address=address, size=size))
    survives(with_table(build_pe(), table))


SIGNED = sign(build_pe())


@settings(max_examples=8 * EXAMPLES)
@given(st.integers(0x600, len(SIGNED) - 1), st.binary(min_size=1, max_size=8))
def test_any_bytes_in_a_signature(offset: int, written: bytes) -> None:
    survives(SIGNED[:offset] + written + SIGNED[offset + len(written) :], reported=True)


UKI_PARTS = {
    b".osrel": b"ID=debian\n",
    b".cmdline": b"quiet",
    b".sbat": b"sbat,1,SBAT Version,sbat,1,x\n",
    b".initrd": archive("init"),
    b".pcrsig": b'{"sha256": []}',
    b".linux": build_bzimage(build_elf([Load(bytes(64))]), with_compat=False),
}


def build_uki(parts: dict[bytes, bytes], **fields: Any) -> bytes:
    sections = [PeSection(name, data, 0x40000040) for name, data in parts.items()]
    return build_pe([PeSection(), *sections], header_size=0x600, **fields)


@pytest.mark.parametrize("name", [*UKI_PARTS, b".splash", b".dtb", b".pcrpkey", b".profile", b".ucode"])
def test_any_bytes_in_a_section_of_a_uki(name: bytes) -> None:
    @settings(max_examples=EXAMPLES)
    @given(st.binary(max_size=200), st.sampled_from([b"", b"BM", b"\xd0\x0d\xfe\xed", b"{", b"070701"]))
    def check(data: bytes, start: bytes) -> None:
        survives(build_uki(UKI_PARTS | {name: start + data}), reported=True)

    check()


@settings(max_examples=5 * EXAMPLES)
@given(st.integers(0, len(UKI_PARTS)), st.sampled_from([8, 12, 16, 20]), numbers(32))
def test_any_place_of_a_section_of_a_uki(which: int, field: int, value: int) -> None:
    data = bytearray(build_uki(UKI_PARTS, size_of_image=0x20000))
    at = data.index(b".text\0") + 40 * which + field
    data[at : at + 4] = value.to_bytes(4, "little")
    survives(bytes(data))


SOUND = {
    "pe": build_pe(SOUND_PE),
    **{f"bzImage {name}": build_bzimage(compression=name) for name in ("gzip", "xz", "lz4", "zstd", "bzip2")},
    **{f"bzImage {name}": build_bzimage(compression=name) for name in ("lzma", "lzo")},
    "ELF": build_elf(),
    "ELF of 32 bits": build_elf(bits=32),
    "UKI": build_uki(UKI_PARTS),
    "zboot": build_zboot(),
    "arm64 Image": build_arm64(),
    "ELF in lzo": lzop(build_elf()),
    "ELF in xz": compress(build_elf(), "xz"),
    "multiboot": multiboot_binary(),
    "initrd": archive("kernel/x86/microcode/x", "init") + compress(archive("init"), "gzip"),
}


@pytest.mark.parametrize("kind", SOUND)
def test_any_file_cut_anywhere(kind: str) -> None:
    data = SOUND[kind]

    @settings(max_examples=2 * EXAMPLES)
    @given(st.integers(0, len(data)))
    def check(length: int) -> None:
        survives(data[:length])

    check()


@pytest.mark.parametrize("kind", SOUND)
def test_any_bytes_written_anywhere(kind: str) -> None:
    data = SOUND[kind]

    @settings(max_examples=3 * EXAMPLES)
    @given(st.integers(0, len(data) - 1), st.binary(min_size=1, max_size=16))
    def check(offset: int, written: bytes) -> None:
        survives(data[:offset] + written + data[offset + len(written) :], reported=True)

    check()


@settings(max_examples=2 * EXAMPLES)
@given(st.binary(max_size=0x400), st.sampled_from([b"", b"MZ", b"\x7fELF", b"\x1f\x8b", b"070701"]))
def test_any_file_at_all(data: bytes, start: bytes) -> None:
    survives(start + data)
