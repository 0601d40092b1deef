# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from pvefi.errors import ImageError, UsageError
from pvefi.image import Image, inspect
from pvefi.report.inspect import flag_names, image_lines
from pvefi.report.inspect_json import inspect_to_json
from pvefi.spec.linux.setup_header import XLoadFlag
from pvefi.spec.pe import SectionCharacteristic
from tests.build.bzimage import build_bzimage
from tests.build.elf import build_elf, linux_notes, note
from tests.build.pe import PeSection, build_pe


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


def test_what_an_image_has_not_is_null(tmp_path: Path) -> None:
    document = document_of(inspected(tmp_path, build_pe()))
    assert [document[name] for name in ("bzimage", "payload", "vmlinux")] == [None, None, None]


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
