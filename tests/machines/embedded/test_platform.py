# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the embedded machine has its RAM, and the hvm_start_info that says so."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvefi.errors import UsageError
from pvefi.machines.embedded.platform import RamLayout, ram_layout, start_info
from pvefi.memory import GuestMemory, RamBlock
from pvefi.spec.xen.start_info import (
    XEN_HVM_START_MAGIC_VALUE,
    HvmMemmapTableEntry,
    HvmStartInfo,
    MemmapType,
)

MIB, GIB = 1 << 20, 1 << 30


@pytest.mark.parametrize(
    ("size", "blocks"),
    [
        (16 * MIB, ((0, 16 * MIB, 0),)),
        (3 * GIB, ((0, 3 * GIB, 0),)),
        (3 * GIB + 4096, ((0, 3 * GIB, 0), (4 * GIB, 4096, 3 * GIB))),
        (6 * GIB, ((0, 3 * GIB, 0), (4 * GIB, 3 * GIB, 3 * GIB))),
    ],
)
def test_ram_fills_3_gib_below_the_pci_hole_and_goes_on_at_4_gib(
    size: int, blocks: tuple[tuple[int, int, int], ...]
) -> None:
    assert ram_layout(size).blocks == blocks


@given(st.integers(4096, 1 << 22))
def test_all_of_the_memory_is_somewhere_once(pages: int) -> None:
    layout = ram_layout(pages * 4096)
    offset = 0
    for address, size, at in layout.blocks:
        assert at == offset
        assert size > 0
        assert address + size <= 3 * GIB or address >= 4 * GIB
        offset += size
    assert offset == pages * 4096


def test_conventional_memory_ends_where_a_pc_s_does() -> None:
    entries = ram_layout(64 * MIB).memory_map()
    assert [(entry.addr, entry.size, entry.type) for entry in entries] == [
        (0, 0xA0000, MemmapType.RAM),
        (0xA0000, 0x60000, MemmapType.RESERVED),
        (0x100000, 63 * MIB, MemmapType.RAM),
    ]


@pytest.mark.parametrize(
    ("size", "text"), [(0, "at least 16 MiB"), (16 * MIB - 1, "16 MiB"), (17 * MIB + 1, "whole")]
)
def test_memory_that_cannot_be_is_refused(size: int, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        ram_layout(size)


def placed(layout: RamLayout, command_line: str) -> tuple[GuestMemory, HvmStartInfo]:
    memory = GuestMemory([RamBlock(0, memoryview(bytearray(MIB)))])
    address, data = start_info(layout, command_line)
    memory.write(address, data)
    return memory, HvmStartInfo.read(memory.read(address, HvmStartInfo.SIZE))


@pytest.mark.parametrize("size", [16 * MIB, 6 * GIB])
def test_everything_start_info_points_at_is_there(size: int) -> None:
    layout = ram_layout(size)
    memory, info = placed(layout, "quiet \u00e4")
    assert (info.magic, info.version, info.flags) == (XEN_HVM_START_MAGIC_VALUE, 1, 0)
    assert (info.nr_modules, info.modlist_paddr, info.rsdp_paddr) == (0, 0, 0)
    table = memory.read(info.memmap_paddr, info.memmap_entries * HvmMemmapTableEntry.SIZE)
    assert table == b"".join(entry.pack() for entry in layout.memory_map())
    assert memory.read(info.cmdline_paddr, 9) == "quiet \u00e4\0".encode()
    assert info.cmdline_paddr >= info.memmap_paddr + len(table)


def test_without_a_command_line_there_is_no_address() -> None:
    assert placed(ram_layout(16 * MIB), "")[1].cmdline_paddr == 0


def test_start_info_stays_in_conventional_memory() -> None:
    room = 0xA0000 - 0x6000 - 56 - 3 * 24 - 1
    address, data = start_info(ram_layout(16 * MIB), "x" * room)
    assert address + len(data) == 0xA0000
    with pytest.raises(UsageError, match="a command line of less than 600 KiB"):
        start_info(ram_layout(16 * MIB), "x" * (room + 1))
