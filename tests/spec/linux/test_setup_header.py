# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import pytest

from pvefi.spec.linux.setup_header import FIELD_SINCE, SETUP_HEADER_OFFSET, KernelInfo, SetupHeader

# Linux boot.rst "The Real-Mode Kernel Header": column "Offset"
OFFSETS = {
    "setup_sects": 0x1F1,
    "syssize": 0x1F4,
    "boot_flag": 0x1FE,
    "header": 0x202,
    "version": 0x206,
    "loadflags": 0x211,
    "code32_start": 0x214,
    "ramdisk_image": 0x218,
    "heap_end_ptr": 0x224,
    "cmd_line_ptr": 0x228,
    "initrd_addr_max": 0x22C,
    "kernel_alignment": 0x230,
    "xloadflags": 0x236,
    "hardware_subarch_data": 0x240,
    "payload_offset": 0x248,
    "setup_data": 0x250,
    "pref_address": 0x258,
    "init_size": 0x260,
    "handover_offset": 0x264,
    "kernel_info_offset": 0x268,
}


@pytest.mark.parametrize(("field", "offset"), OFFSETS.items())
def test_fields_stand_where_boot_rst_says(field: str, offset: int) -> None:
    assert SETUP_HEADER_OFFSET + SetupHeader.offset_of(field) == offset


def test_every_field_with_a_protocol_version_is_a_field() -> None:
    assert set(FIELD_SINCE) <= set(SetupHeader.__dataclass_fields__)


def test_kernel_info_begins_with_its_magic_and_sizes() -> None:
    assert KernelInfo.offset_of("setup_type_max") == 0xC
