# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import gzip
import json
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pvefi.errors import ImageError, UsageError
from pvefi.image import EntryKind, Image, inspect
from pvefi.report.inspect import flag_names, image_lines
from pvefi.report.inspect_json import inspect_to_json
from pvefi.spec.linux.setup_header import XLoadFlag
from pvefi.spec.pe import SectionCharacteristic
from tests.build.arm64 import build_zboot
from tests.build.bzimage import build_bzimage
from tests.build.elf import Load, build_elf, linux_notes, note
from tests.build.multiboot import multiboot2_header, multiboot_binary, tag
from tests.build.pe import PeSection, build_pe
from tests.build.signature import sign


@pytest.fixture
def kernel(tmp_path: Path) -> Image:
    return inspected(tmp_path, build_bzimage())


def inspected(tmp_path: Path, data: bytes, name: str = "vmlinuz") -> Image:
    path = tmp_path / name
    path.write_bytes(data)
    return inspect(path)


def text_of(image: Image) -> str:
    return "\n".join(line.plain for line in image_lines(image))


def document_of(image: Image) -> dict[str, Any]:
    document = json.loads(json.dumps(inspect_to_json([image], [])))
    (found,) = document["images"]
    return dict(found)


def test_the_first_line_says_what_the_file_is(kernel: Image) -> None:
    first = text_of(kernel).splitlines()[0]
    assert first == f"{kernel.path}: Linux bzImage, boot protocol 2.15; EFI application for x86-64"


def test_every_setup_header_field_is_a_line_with_its_name(kernel: Image) -> None:
    assert kernel.bzimage is not None
    lines = text_of(kernel).splitlines()
    for name in kernel.bzimage.fields():
        assert any(line.startswith(f"  {name} ") for line in lines), name


def test_flags_stand_beside_their_field_by_name(kernel: Image) -> None:
    (line,) = [line for line in text_of(kernel).splitlines() if line.startswith("  xloadflags ")]
    assert "0x7f  XLF_KERNEL_64 XLF_CAN_BE_LOADED_ABOVE_4G XLF_EFI_HANDOVER_32" in line


def test_an_entry_is_a_row_with_mode_address_and_path(kernel: Image) -> None:
    text = " ".join(text_of(kernel).split())
    assert "efi 64-bit RVA 0x1000 0x1000 not told startup_64" in text
    assert "pvh 32-bit physical 0x1000050 - bypassed pvh_start_xen, then startup_64" in text
    assert "linux64 64-bit loaded kernel + 0x200 0x1200 entered startup_64" in text


def table_of_entries(image: Image, width: int | None) -> list[str]:
    lines = [line.plain for line in image_lines(image, width)]
    return lines[lines.index("Entries") + 1 : lines.index("State demanded") - 1]


@pytest.mark.parametrize("width", [None, 100, 80, 60])
def test_the_table_of_entries_fits_a_mail_and_a_terminal(kernel: Image, width: int | None) -> None:
    rows = [line for line in table_of_entries(kernel, width) if not re.match(r"  [a-z0-9, -]+: ", line)]
    assert max(map(len, rows)) <= (width or 100)
    assert {"startup_64", "startup_xen"} <= set(" ".join(rows).split()) or width == 60
    assert all(name in rows[0] for name in ("entry", "address", "decompressor"))


def test_what_entries_demand_goes_on_in_its_own_column(kernel: Image) -> None:
    lines = [line.plain for line in image_lines(kernel, 80)]
    demands = lines[lines.index("State demanded") + 1 : lines.index("PE header") - 1]
    assert max(map(len, demands)) <= 80
    assert all(line[16:22].strip() in ("", "16-bit", "32-bit", "64-bit") for line in demands)


def test_demands_stand_below_with_their_source(kernel: Image) -> None:
    text = text_of(kernel)
    assert "ebx: hvm_start_info" in text
    assert "xen/include/public/arch-x86/hvm/start_info.h" in text
    assert 'Linux boot.rst "64-bit Boot Protocol"' in text


def test_notes_are_told_by_name_and_value(kernel: Image) -> None:
    lines = [" ".join(line.split()) for line in text_of(kernel).splitlines()]
    assert "Xen XEN_ELFNOTE_PHYS32_ENTRY 0x1000050" in lines
    assert 'Xen XEN_ELFNOTE_GUEST_OS "linux"' in lines
    assert f"GNU NT_GNU_BUILD_ID {bytes(range(20)).hex()}" in lines


def test_supported_features_are_spelled_out(tmp_path: Path) -> None:
    notes = linux_notes() + note("Xen", 17, b"\x01\x88\0\0")
    image = inspected(tmp_path, build_elf(notes=notes))
    assert "0x8801 (writable_page_tables|dom0|linux_rsdp_unrestricted)" in text_of(image)


def test_nothing_in_a_file_can_steer_the_terminal(tmp_path: Path) -> None:
    notes = note("Linux", 0x100, b"\x1b[31mred\0") + note("\x07\x1b]0;x", 5, b"y")
    data = build_bzimage(build_elf(notes=notes), pe={})
    image = inspected(tmp_path, data.replace(b".compat\0", b"\x1b[2J\0\0\0\0"), "a\x1b[1mb")
    text = text_of(image)
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "\\x1b[2J" in text


def test_a_program_without_entries_says_so(tmp_path: Path) -> None:
    assert "none that pvefi knows" in text_of(inspected(tmp_path, build_pe(machine=0x5064)))


def test_an_alignment_among_section_flags_is_a_number(tmp_path: Path) -> None:
    image = inspected(tmp_path, build_pe([PeSection(characteristics=0x60500020)]))
    assert "r-x    CNT_CODE ALIGN_16" in text_of(image).replace("r-x  CNT", "r-x    CNT")


def test_flag_names_keep_bits_without_a_name() -> None:
    assert flag_names(XLoadFlag(0x8003)) == ["XLF_KERNEL_64", "XLF_CAN_BE_LOADED_ABOVE_4G", "0x8000"]
    assert flag_names(XLoadFlag(0)) == []
    assert flag_names(SectionCharacteristic.CNT_CODE) == ["CNT_CODE"]


def test_the_document_has_schema_and_version() -> None:
    assert inspect_to_json([], []) == {"schema": "pvefi/inspect", "version": 1, "images": [], "errors": []}


def test_numbers_are_numbers_and_names_are_names(kernel: Image) -> None:
    document = document_of(kernel)
    assert document["pe"]["machine"] == "AMD64"
    assert document["pe"]["entry_rva"] == 0x1000
    assert document["bzimage"]["header"]["init_size"] == 0x400000
    assert "XLF_KERNEL_64" in document["bzimage"]["xloadflags"]
    assert document["payload"]["compression"] == "gzip"
    entry = document["entries"][0]
    assert (entry["kind"], entry["bits"], entry["address_kind"]) == ("efi", 64, "rva")
    assert entry["decompressor"] == "untold"
    notes = {n["name"]: n["value"] for n in document["vmlinux"]["notes"]}
    assert notes["XEN_ELFNOTE_PHYS32_ENTRY"] == 0x1000050
    assert notes["NT_GNU_BUILD_ID"] == bytes(range(20)).hex()


def lines_of(image: Image) -> list[str]:
    return [" ".join(line.split()) for line in text_of(image).splitlines()]


def test_features_are_spelled_out_with_those_required(tmp_path: Path) -> None:
    notes = linux_notes() + note("Xen", 10, b"!writable_page_tables|pae_pgdir_above_4gb\0")
    image = inspected(tmp_path, build_elf(notes=notes))
    told = "Xen XEN_ELFNOTE_FEATURES writable_page_tables (required), pae_pgdir_above_4gb"
    assert told in lines_of(image)
    assert document_of(image)["vmlinux"]["notes"][-1]["features"] == [
        {"name": "writable_page_tables", "required": True},
        {"name": "pae_pgdir_above_4gb", "required": False},
    ]


def test_where_a_pvh_kernel_may_be_moved_is_told(tmp_path: Path) -> None:
    reloc = note("Xen", 19, struct.pack("<3I", 0x200000, 0x1000000, 0x3FFFFFFF))
    lines = lines_of(inspected(tmp_path, build_elf(notes=linux_notes() + reloc)))
    assert (
        "Xen XEN_ELFNOTE_PHYS32_RELOC alignment 0x200000, lowest address 0x1000000, "
        "highest address 0x3fffffff"
    ) in lines
    assert "pvh: may be moved to 0x1000000 to 0x3fffffff, aligned to 0x200000" in lines


def test_a_signature_is_told_with_signer_and_hash(tmp_path: Path) -> None:
    image = inspected(tmp_path, sign(build_pe()))
    lines = lines_of(image)
    assert "signer O=Tests, CN=Test Signer" in lines
    assert "issued by O=Tests, CN=Test CA" in lines
    assert any(line.startswith("hash sha256") and line.endswith("matches this file") for line in lines)
    (signature,) = document_of(image)["pe"]["signatures"]
    assert (signature["type"], signature["digest_matches"]) == ("PKCS_SIGNED_DATA", True)
    assert signature["signers"][0]["serial_number"] == "1234"
    assert signature["certificates"][0]["not_after"] == "2032-01-01T00:00:00+00:00"


def test_a_hash_of_another_file_cannot_be_overlooked(tmp_path: Path) -> None:
    data = bytearray(sign(build_pe()))
    data[0x410] ^= 1
    assert any("is NOT that of this file" in line for line in lines_of(inspected(tmp_path, bytes(data))))


def uki() -> bytes:
    sections = [
        PeSection(),
        PeSection(b".cmdline", b"quiet\x1b[31m"),
        PeSection(b".sbat", b"sbat,1,SBAT Version,sbat,1,x\nmine,?,,,,\n"),
        PeSection(b".dtbauto", b""),
        PeSection(b".efifw", b"blob"),
        PeSection(b".linux", build_zboot()),
    ]
    return build_pe(sections, header_size=0x600)


def test_a_unified_image_is_told_section_by_section(tmp_path: Path) -> None:
    image = inspected(tmp_path, uki())
    lines = lines_of(image)
    assert "Unified kernel image" in lines
    assert any(line.startswith(".cmdline base 0x800 0xa quiet\\x1b[31m") for line in lines)
    assert any(line.startswith(".linux base") and line.endswith("see below") for line in lines)
    assert "mine ?" in lines
    document = document_of(image)
    assert document["unified"]["kind"] == "unified kernel image"
    names = [resource["name"] for resource in document["unified"]["resources"]]
    assert names == [".cmdline", ".sbat", ".dtbauto", ".efifw", ".linux"]
    assert document["pe"]["sbat"][1]["component_generation"] is None


def test_images_inside_are_told_below_with_where_they_stand(tmp_path: Path) -> None:
    image = inspected(tmp_path, uki())
    titles = [line for line in text_of(image).splitlines() if line.startswith(str(tmp_path))]
    assert [title.removeprefix(f"{image.path}") for title in titles] == [
        ": unified kernel image; EFI application for x86-64",
        ", .linux: EFI zboot image (gzip); EFI application for arm64",
        ", gzip payload: Linux arm64 Image; EFI application for arm64",
    ]
    (kernel,) = document_of(image)["embedded"]
    assert kernel["inside"] == ".linux"
    assert kernel["zboot"]["payload"]["compression"] == "gzip"
    assert kernel["embedded"][0]["arm64"]["page_size"] == 4096


def test_multiboot_headers_are_told_field_by_field(tmp_path: Path) -> None:
    header = multiboot2_header([tag(1, 4, 99), tag(10, 0x200000, 0xFFFFFFFF, 0x1000, 1), tag(0x77, 5)])
    image = inspected(tmp_path, build_elf([Load(bytes(8) + header)]))
    lines = lines_of(image)
    assert "tag INFORMATION_REQUEST BASIC_MEMINFO 0x63" in lines
    assert "tag RELOCATABLE min_addr 0x200000 max_addr 0xffffffff align 0x1000 preference 0x1" in lines
    tags = document_of(image)["multiboot2"]["tags"]
    assert tags[0] == {
        "type": "INFORMATION_REQUEST",
        "optional": False,
        "requests": ["BASIC_MEMINFO", "0x63"],
    }
    assert tags[1]["align"] == 0x1000
    assert tags[2] == {"type": "0x77", "optional": False, "words": [5]}


def test_a_file_that_its_header_says_how_to_load_is_told_so(tmp_path: Path) -> None:
    image = inspected(tmp_path, multiboot_binary(flags=0x10004, width=80, height=25, mode_type=1))
    lines = lines_of(image)
    assert "flags VIDEO_MODE AOUT_KLUDGE" in lines
    assert "load from file offset 0x0 to 0x100000 up to 0x101000, .bss to 0x102000" in lines
    assert "video mode text, 80 x 25, depth 0 (0: no preference)" in lines
    document = document_of(image)["multiboot"]
    assert document["load"]["load_end_address"] == 0x101000
    assert document["graphics"]["width"] == 80


def test_a_compressed_file_says_so(tmp_path: Path) -> None:
    image = inspected(tmp_path, gzip.compress(build_elf()))
    assert any(line.startswith("compressed gzip, 0x") for line in lines_of(image))
    assert document_of(image)["compressed"]["uncompressed_size"] == len(build_elf())


def test_what_an_image_has_not_is_null(tmp_path: Path) -> None:
    document = document_of(inspected(tmp_path, build_pe()))
    absent = ("inside", "compressed", "unified", "bzimage", "payload", "zboot", "arm64")
    assert {document[name] for name in (*absent, "multiboot", "multiboot2", "vmlinux")} == {None}
    assert document["embedded"] == []


DOCS = Path(__file__).resolve().parents[2] / "docs"
FOREIGN = ("header", "directories")  # names of other documents


def keys(document: object) -> Iterator[str]:
    if isinstance(document, dict):
        for key, value in document.items():
            yield key
            if key not in FOREIGN:
                yield from keys(value)
    elif isinstance(document, list):
        for value in document:
            yield from keys(value)


def test_the_pages_name_every_field_of_the_document(tmp_path: Path) -> None:
    header = multiboot2_header([tag(1, 4), tag(0x77, 5)])
    images = [
        inspected(tmp_path, data, str(number))
        for number, data in enumerate(
            [
                uki(),
                sign(build_pe()),
                multiboot_binary(flags=0x10004),
                build_elf([Load(bytes(8) + header)], notes=linux_notes() + note("Xen", 10, b"x\0")),
            ]
        )
    ]
    text = "".join((DOCS / name).read_text() for name in ("inspect.md", "json-documents.md"))
    told = {key for key in keys(inspect_to_json(images, [])) if f"`{key}`" not in text}
    plain = {"name", "virtual_address", "virtual_size", "raw_offset", "raw_size", "alignment", "permissions"}
    plain |= {"memory_size", "file_size", "physical_address", "segment_index", "segment_offset", "bytes"}
    assert told <= plain


def test_every_entry_has_its_line_on_the_page() -> None:
    text = (DOCS / "inspect.md").read_text()
    assert {kind for kind in EntryKind if f"\n| `{kind.value}` |" not in text} == set()


def test_errors_carry_their_parts() -> None:
    errors = [
        ("a", ImageError("a", 0x40, "one thing", "another", "do this")),
        ("b", UsageError("b: cannot be read")),
    ]
    assert inspect_to_json([], errors)["errors"] == [
        {
            "path": "a",
            "message": "a: offset 0x40: expected one thing, found another",
            "way_out": "do this",
            "offset": 0x40,
            "expected": "one thing",
            "found": "another",
        },
        {"path": "b", "message": "b: cannot be read", "way_out": ""},
    ]
