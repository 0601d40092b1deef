# SPDX-License-Identifier: GPL-2.0-or-later
"""What page tables let a kernel do with its own segments: made-up tables, walked as a CPU does."""

from __future__ import annotations

import mmap

import pytest

from pvefi.image.vmlinux import LoadSegment
from pvefi.mapping import segment_mappings
from pvefi.memory import GuestMemory, RamBlock
from pvefi.verdict import SegmentMapping

MIB = 1 << 20
ROOT, POINTERS, DIRECTORY, TABLE = 0x1000, 0x2000, 0x3000, 0x4000
P, W, LARGE, NX = 1, 2, 0x80, 1 << 63
WP, PG, LMA, NXE = 1 << 16, 1 << 31, 1 << 10, 1 << 11


class Guest:
    """8 MiB with page tables that map them one to one, by pages of 2 MiB but for those from 2 MiB on."""

    def __init__(self) -> None:
        self.memory = GuestMemory([RamBlock(0, memoryview(mmap.mmap(-1, 8 * MIB)))])
        self.set(ROOT, POINTERS | P | W)
        self.set(POINTERS, DIRECTORY | P | W)
        for at in range(4):
            self.set(DIRECTORY + 8 * at, at * 2 * MIB | P | W | LARGE)
        self.set(DIRECTORY + 8, TABLE | P | W)
        for at in range(512):
            self.set(TABLE + 8 * at, 2 * MIB + 0x1000 * at | P | W)
        self.registers = {"cr0": PG | WP, "cr3": ROOT | 0x18, "cr4": 0x20, "efer": LMA | NXE}

    def set(self, address: int, entry: int) -> None:
        self.memory.write(address, entry.to_bytes(8, "little"))

    def one(self, start: int = 2 * MIB, size: int = 0x3000, slide: int = 0) -> SegmentMapping:
        segment = LoadSegment(0, 0, start, size, size, 5, 4096)
        (found,) = segment_mappings(self.memory, self.registers, [segment], slide)
        return found


def counts(one: SegmentMapping) -> tuple[int, int, int, int]:
    return one.mapped, one.writable, one.executable, one.both


def test_pages_without_restrictions_are_writable_and_executable_at_once() -> None:
    found = Guest().one()
    assert (found.address, found.size, found.linked) == (2 * MIB, 0x3000, "r-x")
    assert counts(found) == (0x3000,) * 4


def test_each_page_of_a_segment_counts_for_itself() -> None:
    guest = Guest()
    guest.set(TABLE, 2 * MIB | P)
    guest.set(TABLE + 8, 2 * MIB + 0x1000 | P | W | NX)
    guest.set(TABLE + 16, 0)
    assert counts(guest.one()) == (0x2000, 0x1000, 0x1000, 0)


def test_a_restriction_of_a_higher_level_holds_for_all_below() -> None:
    guest = Guest()
    guest.set(POINTERS, DIRECTORY | P | NX)
    assert counts(guest.one()) == (0x3000, 0, 0, 0)
    assert counts(guest.one(4 * MIB, 2 * MIB)) == (2 * MIB, 0, 0, 0)


def test_a_large_page_is_one_step_and_only_what_lies_in_the_segment_counts() -> None:
    guest = Guest()
    guest.set(DIRECTORY + 16, 4 * MIB | P | LARGE)
    assert counts(guest.one(4 * MIB + 0x800, 3 * MIB)) == (3 * MIB, MIB + 0x800, 3 * MIB, MIB + 0x800)


@pytest.mark.parametrize(
    ("register", "value", "expected"),
    [("cr0", PG, (0x3000, 0x3000, 0, 0)), ("efer", LMA, (0x3000, 0, 0x3000, 0))],
    ids=["without CR0.WP the kernel may write", "without EFER.NXE all can run"],
)
def test_what_the_registers_leave_out_restricts_nothing(
    register: str, value: int, expected: tuple[int, int, int, int]
) -> None:
    guest = Guest()
    guest.set(DIRECTORY + 8, TABLE | P | NX)
    assert counts(guest.one()) == (0x3000, 0, 0, 0)
    guest.registers[register] = value
    assert counts(guest.one()) == expected


def test_a_segment_is_looked_for_where_the_kernel_was_moved_to() -> None:
    guest = Guest()
    guest.set(TABLE, 2 * MIB | P)
    found = guest.one(MIB, 0x1000, slide=MIB)
    assert (found.address, counts(found)) == (2 * MIB, (0x1000, 0, 0x1000, 0))


def test_a_page_that_leads_elsewhere_is_no_mapping_of_the_segment() -> None:
    guest = Guest()
    guest.set(TABLE, 7 * MIB | P | W)
    assert counts(guest.one()) == (0x2000,) * 4


def test_without_paging_there_is_nothing_to_tell() -> None:
    guest = Guest()
    for name, value in (("cr0", WP), ("efer", NXE)):
        registers = guest.registers | {name: value}
        segment = LoadSegment(0, 0, 0, 0x1000, 0x1000, 5, 4096)
        assert segment_mappings(guest.memory, registers, [segment], 0) == ()


def test_tables_outside_of_memory_map_nothing() -> None:
    guest = Guest()
    guest.set(POINTERS, 1 << 45 | P | W)
    assert counts(guest.one()) == (0, 0, 0, 0)


def test_a_file_s_monstrous_segments_are_walked_no_further_than_memory_reaches() -> None:
    guest = Guest()
    segment = LoadSegment(0, 0, 2 * MIB, 1 << 60, 1 << 60, 7, 4096)
    found = segment_mappings(guest.memory, guest.registers, [segment] * 1000, 0)
    assert sum(one.size for one in found) == 8 * MIB
    assert len(found) <= 64
