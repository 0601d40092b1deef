# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvefi.report.boot_params import boot_params_fields, boot_params_lines, boot_params_to_json
from pvefi.spec.linux.boot_params import BootParams
from tests.report.made import E820_MAP, boot_params


def meaning(params: BootParams, name: str) -> str:
    return next(field.meaning for field in boot_params_fields(params) if field.name == name)


def with_header(**fields: int) -> BootParams:
    return boot_params(E820_MAP, **fields)


def lines(params: BootParams) -> list[str]:
    return [line.plain for line in boot_params_lines(params)]


def test_only_fields_that_are_not_zero_are_shown() -> None:
    assert lines(BootParams.unpack(bytes(BootParams.SIZE))) == []
    shown = [line.split()[0] for line in lines(boot_params())]
    assert shown[0] == "screen_info.orig_video_isVGA"
    assert "hdr.loadflags" in shown
    assert "hdr.setup_data" not in shown


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("version", 0x20F, "boot protocol 2.15"),
        ("header", 0x53726448, '"HdrS"'),
        ("header", 5, 'should be "HdrS"'),
        ("boot_flag", 0xAA55, ""),
        ("boot_flag", 5, "should be 0xaa55"),
        ("loadflags", 0x81, "LOADED_HIGH|CAN_USE_HEAP"),
        ("loadflags", 0x09, "LOADED_HIGH|0x8"),
        ("xloadflags", 0x9, "XLF_KERNEL_64|XLF_EFI_HANDOVER_64"),
        ("type_of_loader", 0x21, "bootsect-loader, version 1; as Linux's EFI stub does"),
        ("type_of_loader", 0x72, "GRUB, version 2"),
        ("type_of_loader", 0x60, "loader 0x6, version 0"),
        ("type_of_loader", 0xFF, "a loader without an identifier"),
        ("vid_mode", 0xFFFF, "normal"),
        ("min_alignment", 21, "2 MiB"),
        ("min_alignment", 255, ""),
        ("setup_sects", 0x27, "20 KiB with the boot sector"),
        ("cmdline_size", 2047, "2047 characters"),
        ("hardware_subarch", 2, "XEN"),
        ("hardware_subarch", 77, ""),
    ],
)
def test_a_header_field_says_what_it_means(name: str, value: int, text: str) -> None:
    assert meaning(with_header(**{name: value}), f"hdr.{name}") == text


def test_an_extended_loader_is_named() -> None:
    params = boot_params(type_of_loader=0xE3, ext_loader_type=2, ext_loader_ver=1)
    assert meaning(params, "hdr.type_of_loader") == "OVMF UEFI virtualization stack, version 19"


def test_halves_are_joined_beside_the_low_one() -> None:
    params = boot_params()
    assert meaning(params, "efi_info.efi_systab") == ""
    params = replace(params, efi_info=replace(params.efi_info, efi_systab_hi=1), ext_ramdisk_image=2)
    assert meaning(params, "efi_info.efi_systab") == "0x11f5e1018 with efi_systab_hi"
    assert meaning(params, "hdr.ramdisk_image") == "0x21d000000 with ext_ramdisk_image"


def test_the_efi_memory_map_is_counted_in_descriptors() -> None:
    params = boot_params()
    assert meaning(params, "efi_info.efi_memmap_size") == "12 descriptors"
    params = replace(params, efi_info=replace(params.efi_info, efi_memdesc_size=0))
    assert meaning(params, "efi_info.efi_memmap_size") == ""


def test_long_fields_are_cut() -> None:
    params = replace(boot_params(), edid_info=b"\xff" * 128)
    (line,) = [line for line in lines(params) if "edid_info" in line]
    assert line.endswith("...")
    assert len(line) <= 100


def test_json_has_every_field_and_the_bytes() -> None:
    params = boot_params()
    document = boot_params_to_json(params, params.pack())
    fields = document["fields"]
    assert isinstance(fields, dict)
    assert fields["hdr"] == dict(vars(params.hdr))
    assert set(fields) == set(vars(params))
    assert isinstance(fields["e820_table"], list)
    assert fields["e820_table"][1] == {"addr": 0x1000, "size": 0x9F000, "type": {"value": 1, "name": "RAM"}}
    assert bytes.fromhex(str(document["bytes"])) == params.pack()


@given(st.binary(min_size=1, max_size=97), st.integers(0, 0xFFF))
def test_a_zero_page_of_garbage_can_be_shown(garbage: bytes, at: int) -> None:
    data = (bytes(at) + garbage * BootParams.SIZE)[: BootParams.SIZE]
    params = BootParams.unpack(data)
    assert all(line.isprintable() for line in lines(params))
    json.dumps(boot_params_to_json(params, data))
