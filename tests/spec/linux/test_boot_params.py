# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import struct
from dataclasses import replace

import pytest

from pvefi.spec.linux.boot_params import BootParams, EfiInfo, SecureBootMode
from pvefi.spec.linux.e820 import MAX_ENTRIES, E820Entry, E820Type
from pvefi.spec.linux.screen_info import ScreenInfo, VideoType
from pvefi.spec.linux.setup_data import SETUP_INDIRECT, SetupData, SetupDataType

# Linux Documentation/arch/x86/zero-page.rst: column "Offset"
OFFSETS = {
    "screen_info": 0x000,
    "apm_bios_info": 0x040,
    "tboot_addr": 0x058,
    "ist_info": 0x060,
    "acpi_rsdp_addr": 0x070,
    "hd0_info": 0x080,
    "hd1_info": 0x090,
    "sys_desc_table": 0x0A0,
    "olpc_ofw_header": 0x0B0,
    "ext_ramdisk_image": 0x0C0,
    "ext_ramdisk_size": 0x0C4,
    "ext_cmd_line_ptr": 0x0C8,
    "cc_blob_address": 0x13C,
    "edid_info": 0x140,
    "efi_info": 0x1C0,
    "alt_mem_k": 0x1E0,
    "scratch": 0x1E4,
    "e820_entries": 0x1E8,
    "eddbuf_entries": 0x1E9,
    "edd_mbr_sig_buf_entries": 0x1EA,
    "kbd_status": 0x1EB,
    "secure_boot": 0x1EC,
    "sentinel": 0x1EF,
    "hdr": 0x1F1,
    "edd_mbr_sig_buffer": 0x290,
    "e820_table": 0x2D0,
    "eddbuf": 0xD00,
}


@pytest.mark.parametrize(("field", "offset"), OFFSETS.items())
def test_fields_stand_where_zero_page_rst_says(field: str, offset: int) -> None:
    assert BootParams.offset_of(field) == offset


def test_a_page_survives_the_round_trip() -> None:
    page = bytes(at * 7 % 251 for at in range(BootParams.SIZE))
    assert BootParams.unpack(page).pack() == page


def test_addresses_join_their_halves() -> None:
    page = bytearray(BootParams.SIZE)
    struct.pack_into("<III", page, 0xC0, 1, 2, 3)
    struct.pack_into("<II", page, 0x218, 0x1000, 0x2000)
    struct.pack_into("<I", page, 0x228, 0x3000)
    params = BootParams.unpack(page)
    assert params.ramdisk_address == 0x1_0000_1000
    assert params.ramdisk_size == 0x2_0000_2000
    assert params.command_line_address == 0x3_0000_3000


def test_the_efi_info_joins_its_halves() -> None:
    info = EfiInfo.unpack(struct.pack("<4s7I", b"EL64", 0x10, 48, 1, 0x20, 0x300, 1, 2))
    assert info.system_table_address == 0x1_0000_0010
    assert info.memory_map_address == 0x2_0000_0020


def test_only_the_entries_in_use_are_the_memory_map() -> None:
    empty = BootParams.unpack(bytes(BootParams.SIZE))
    ram = E820Entry(addr=0, size=0x9F000, type=E820Type.RAM)
    table = (ram, *empty.e820_table[1:])
    assert len(table) == MAX_ENTRIES
    assert replace(empty, e820_table=table, e820_entries=1).memory_map == (ram,)
    assert len(replace(empty, e820_entries=255).memory_map) == MAX_ENTRIES


def test_unknown_numbers_survive() -> None:
    assert SecureBootMode(9).known is False
    assert E820Entry.unpack(struct.pack("<QQI", 0, 1, 99)).type == 99


def test_a_frame_buffer_above_4_gib_is_told() -> None:
    assert ScreenInfo.offset_of("ext_lfb_base") == 0x3A
    assert ScreenInfo.unpack(bytes(15) + b"\x70" + bytes(48)).orig_video_is_vga is VideoType.EFI


def test_setup_data_nodes_name_their_type() -> None:
    node = SetupData.unpack(struct.pack("<QII", 0, 9, 32))
    assert node.type is SetupDataType.RNG_SEED
    assert SetupDataType(SETUP_INDIRECT) is SetupDataType.INDIRECT
