# SPDX-License-Identifier: GPL-2.0-or-later
"""hvm_start_info of both versions, and of none."""

from __future__ import annotations

import pytest

from pvefi.spec.xen.start_info import (
    XEN_HVM_START_MAGIC_VALUE,
    HvmMemmapTableEntry,
    HvmModlistEntry,
    HvmStartInfo,
    HvmStartInfoV0,
    MemmapType,
)

MAGIC = XEN_HVM_START_MAGIC_VALUE


def test_the_magic_reads_xen3_with_the_high_bit_of_e_set() -> None:
    assert MAGIC.to_bytes(4, "little") == b"x\xc5n3"


def test_fields_stand_where_the_header_file_draws_them() -> None:
    assert HvmStartInfo.offset_of("modlist_paddr") == 16
    assert HvmStartInfo.offset_of("rsdp_paddr") == 32
    assert HvmStartInfo.offset_of("memmap_entries") == 48
    assert HvmModlistEntry.offset_of("cmdline_paddr") == 16
    assert HvmMemmapTableEntry.offset_of("type") == 16


def test_version_1_is_read_whole() -> None:
    start = HvmStartInfo(MAGIC, 1, 0, 2, 0x1000, 0x2000, 0x3000, 0x4000, 5)
    assert HvmStartInfo.read(b"before" + start.pack(), 6) == start


def test_version_0_has_no_memory_map_whatever_follows_it() -> None:
    short = HvmStartInfoV0(MAGIC, 0, 0, 0, 0, 0, 0xF0000)
    for rest in (b"", b"\xff" * 16):
        start = HvmStartInfo.read(short.pack() + rest)
        assert (start.rsdp_paddr, start.memmap_paddr, start.memmap_entries) == (0xF0000, 0, 0)


def test_a_later_version_is_read_as_version_1() -> None:
    assert HvmStartInfo.read(HvmStartInfo(MAGIC, 7, 0, 0, 0, 0, 0, 0x4000, 5).pack()).memmap_entries == 5


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "takes 40 bytes, 0 are there"),
        (HvmStartInfo(MAGIC, 1, 0, 0, 0, 0, 0).pack()[:48], "version 1 takes 56 bytes, 48 are there"),
        (HvmStartInfo(MAGIC ^ 1, 1, 0, 0, 0, 0, 0).pack(), "begins with 0x336ec579, expected 0x336ec578"),
    ],
)
def test_what_is_no_start_info_is_refused_with_what_was_found(data: bytes, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        HvmStartInfo.read(data)


def test_an_offset_before_the_data_is_refused() -> None:
    with pytest.raises(ValueError, match="0 are there"):
        HvmStartInfo.read(bytes(100), -60)


def test_an_unknown_kind_of_memory_survives_a_round_trip() -> None:
    entry = HvmMemmapTableEntry.unpack(HvmMemmapTableEntry(0x1000, 0x1000, MemmapType(0xF0000077)).pack())
    assert (int(entry.type), entry.type.known) == (0xF0000077, False)
    assert MemmapType.FOREIGN_REG.known
