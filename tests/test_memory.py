# SPDX-License-Identifier: GPL-2.0-or-later
"""Guest memory by physical address, and through page tables that nobody can trust."""

from __future__ import annotations

import contextlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvefi.errors import GuestFault
from pvefi.memory import GuestMemory, NamedRange, RamBlock, VirtualMemory, describe

MIB, GIB = 1 << 20, 1 << 30
HIGH = 4 * GIB
SIZE = 64 << 10


def memory(*, high: bool = True) -> GuestMemory:
    blocks = [RamBlock(0, memoryview(bytearray(SIZE)))]
    if high:
        blocks.insert(0, RamBlock(HIGH, memoryview(bytearray(SIZE))))
    return GuestMemory(blocks)


def fault(text: str) -> pytest.RaisesExc[GuestFault]:
    return pytest.raises(GuestFault, match=text)


# ---------------------------------------------------------------- physical


@pytest.mark.parametrize("address", [0, 1, SIZE - 4, HIGH, HIGH + SIZE - 4])
def test_what_is_written_is_read(address: int) -> None:
    ram = memory()
    ram.write(address, b"abcd")
    assert ram.read(address, 4) == b"abcd"


@pytest.mark.parametrize(
    ("address", "size"),
    [
        (SIZE - 3, 4),
        (SIZE, 1),
        (HIGH - 1, 1),
        (HIGH - 2, 4),
        (HIGH + SIZE - 3, 4),
        (HIGH + SIZE, 1),
        (0, SIZE + 1),
        (0, 1 << 64),
        ((1 << 64) - 1, 1),
        ((1 << 64) - 1, 16),
        (0, -1),
        (-1, 1),
    ],
)
def test_what_is_not_all_ram_faults_and_nothing_is_written(address: int, size: int) -> None:
    ram = memory()
    with fault(f"at guest physical {address:#x} are not all RAM"):
        ram.read(address, size)
    with fault("not all RAM"):
        ram.view(address, size)
    with fault("not all RAM"):
        ram.fill(address, size, 0xFF)
    if 0 <= size <= 4 * SIZE:
        with fault("not all RAM"):
            ram.write(address, bytes([0xFF]) * size)
    assert ram.read(0, SIZE) == bytes(SIZE) == ram.read(HIGH, SIZE)


def test_memory_of_a_machine_whose_first_block_is_not_at_0() -> None:
    ram = GuestMemory([RamBlock(MIB, memoryview(bytearray(SIZE)))])
    with fault("guest physical 0x0"):
        ram.read(0, 0)
    assert ram.contiguous(0) == 0
    assert ram.contiguous(MIB) == SIZE


@pytest.mark.parametrize(
    ("address", "left"),
    [(0, SIZE), (SIZE - 1, 1), (SIZE, 0), (GIB, 0), (HIGH, SIZE), (HIGH + SIZE, 0), ((1 << 64) - 1, 0)],
)
def test_contiguous_memory_ends_with_its_block(address: int, left: int) -> None:
    assert memory().contiguous(address) == left


def test_filling_reaches_every_byte_and_no_other() -> None:
    ram = GuestMemory([RamBlock(0, memoryview(bytearray(3 * MIB)))])
    ram.fill(1, 3 * MIB - 2, 0xAB)
    assert ram.read(0, 3 * MIB) == b"\0" + b"\xab" * (3 * MIB - 2) + b"\0"
    ram.fill(0, 3 * MIB)
    assert not any(ram.read(0, 3 * MIB))


def test_a_view_is_the_memory_itself() -> None:
    ram = memory()
    ram.view(16, 4)[:] = b"wxyz"
    assert ram.read(16, 4) == b"wxyz"


def test_released_memory_is_let_go() -> None:
    mapping = bytearray(SIZE)
    ram = GuestMemory([RamBlock(0, memoryview(mapping))])
    ram.release()
    mapping.clear()  # BufferError while anything still looks at it


def test_an_address_is_described_by_the_smallest_range_that_holds_it() -> None:
    ranges = [NamedRange("arena", 0x1000, 0x1000), NamedRange("table", 0x1800, 0x100)]
    assert describe(0x1812, ranges) == "table+0x12 (0x1812)"
    assert describe(0x1000, ranges) == "arena+0x0 (0x1000)"
    assert describe(0x1FFF, ranges) == "arena+0xfff (0x1fff)"
    assert describe(0x2000, ranges) == "0x2000"
    assert describe(0, []) == "0x0"


# ---------------------------------------------------------------- virtual

ROOT = 0x1000
DATA = 0xE000
PRESENT, LARGE, NO_EXECUTE = 1, 1 << 7, 1 << 63
LA57 = 1 << 12
KERNEL = 0xFFFF_8880_0000_0000
KERNEL_57 = 0xFF11_0000_0000_0000


class Tables:
    """Page tables built by hand: `map` enters one translation of `levels` levels."""

    def __init__(self, levels: int = 4) -> None:
        self.memory = memory()
        self.levels = levels
        self._free = ROOT + 0x1000
        self.cr4 = LA57 if levels == 5 else 0
        self.virtual = VirtualMemory(self.memory, ROOT, self.cr4)

    def map(self, virtual: int, entry: int, last: int = 1) -> None:
        """Let `entry` be that of `virtual` in the table of level `last` (1: 4 KiB, 2: 2 MiB, 3: 1 GiB)."""
        table = ROOT
        for level in range(self.levels, last, -1):
            slot = table + 8 * (virtual >> 12 + 9 * (level - 1) & 511)
            found = int.from_bytes(self.memory.read(slot, 8), "little")
            if not found & PRESENT:
                found = self._free | PRESENT
                self._free += 0x1000
                self.memory.write(slot, found.to_bytes(8, "little"))
            table = found & ~0xFFF
        slot = table + 8 * (virtual >> 12 + 9 * (last - 1) & 511)
        self.memory.write(slot, entry.to_bytes(8, "little"))


@pytest.fixture(params=[4, 5], ids=["4 levels", "5 levels"])
def tables(request: pytest.FixtureRequest) -> Tables:
    return Tables(request.param)


@pytest.mark.parametrize("virtual", [0, 0x7FFF_FFFF_F000, KERNEL, 0xFFFF_FFFF_FFFF_F000])
def test_a_page_is_found_through_all_levels(tables: Tables, virtual: int) -> None:
    tables.map(virtual, DATA | PRESENT)
    tables.virtual.write(virtual + 5, b"hello")
    assert tables.memory.read(DATA + 5, 5) == b"hello"
    assert tables.virtual.read(virtual + 5, 5) == b"hello"
    assert tables.virtual.translate(virtual + 0xFFE) == (DATA + 0xFFE, 2)


def test_five_levels_reach_what_four_do_not() -> None:
    tables = Tables(5)
    tables.map(KERNEL_57, DATA | PRESENT)
    assert tables.virtual.translate(KERNEL_57) == (DATA, 0x1000)
    with fault("is not canonical"):
        VirtualMemory(tables.memory, ROOT, 0).translate(KERNEL_57)


@pytest.mark.parametrize(
    ("levels", "virtual"),
    [(4, 1 << 47), (4, 1 << 48), (4, 1 << 63), (4, 0xFFFF_7FFF_FFFF_F000), (5, 1 << 56), (5, 1 << 63)],
)
def test_an_address_that_is_not_canonical_is_no_other_s(levels: int, virtual: int) -> None:
    tables = Tables(levels)
    tables.map(virtual, DATA | PRESENT)  # the walk alone would find it
    with fault("is not canonical"):
        tables.virtual.read(virtual, 1)
    assert tables.virtual.contiguous(virtual) == 0


@pytest.mark.parametrize(("level", "size"), [(2, 2 * MIB), (3, GIB)])
@pytest.mark.parametrize("extra", [0, NO_EXECUTE | 0x7F << 52, 1 << 12], ids=["", "high bits", "PAT"])
def test_large_pages(tables: Tables, level: int, size: int, extra: int) -> None:
    tables.map(KERNEL, HIGH | PRESENT | LARGE | extra, last=level)
    assert tables.virtual.translate(KERNEL + 0x1234) == (HIGH + 0x1234, size - 0x1234)
    tables.virtual.write(KERNEL + 0x1234, b"large")
    assert tables.memory.read(HIGH + 0x1234, 5) == b"large"
    assert tables.virtual.contiguous(KERNEL) == SIZE  # the page is larger than RAM
    with fault("not all RAM"):
        tables.virtual.read(KERNEL + SIZE - 1, 2)


def test_the_page_size_bit_means_nothing_in_the_upper_levels(tables: Tables) -> None:
    tables.map(KERNEL, DATA | PRESENT)
    slot = ROOT + 8 * (KERNEL >> (48 if tables.levels == 5 else 39) & 511)
    entry = int.from_bytes(tables.memory.read(slot, 8), "little")
    tables.memory.write(slot, (entry | LARGE).to_bytes(8, "little"))
    assert tables.virtual.translate(KERNEL) == (DATA, 0x1000)


@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_an_absent_entry_of_any_level_faults(level: int) -> None:
    tables = Tables()
    tables.map(KERNEL, DATA | PRESENT)
    tables.map(KERNEL, DATA & ~PRESENT, last=level)
    with fault(f"guest virtual {KERNEL:#x} is not mapped"):
        tables.virtual.read(KERNEL, 1)
    assert tables.virtual.contiguous(KERNEL) == 0


@pytest.mark.parametrize("level", [2, 3, 4])
@pytest.mark.parametrize("frame", [GIB, 0x000F_FFFF_FFFF_F000])
def test_a_table_outside_of_ram_faults(level: int, frame: int) -> None:
    tables = Tables()
    tables.map(KERNEL, frame | PRESENT, last=level)
    with fault("at guest physical"):
        tables.virtual.read(KERNEL, 1)


def test_a_root_outside_of_ram_faults() -> None:
    with fault("guest physical 0x40000000"):
        VirtualMemory(memory(), GIB, 0).read(0, 1)


def test_a_table_that_leads_to_itself_ends(tables: Tables) -> None:
    tables.memory.write(ROOT, b"".join((ROOT | PRESENT).to_bytes(8, "little") for _ in range(512)))
    assert tables.virtual.translate(KERNEL + 0x123) == (ROOT + 0x123, 0x1000 - 0x123)


def test_data_over_pages_that_are_not_neighbours(tables: Tables) -> None:
    tables.map(KERNEL, (DATA + 0x1000) | PRESENT)
    tables.map(KERNEL + 0x1000, HIGH | PRESENT)
    tables.map(KERNEL + 0x2000, DATA | PRESENT)
    data = random.Random(1).randbytes(0x2800)
    tables.virtual.write(KERNEL + 0x400, data)
    assert tables.virtual.read(KERNEL + 0x400, len(data)) == data
    assert tables.memory.read(DATA + 0x1400, 0xC00) == data[:0xC00]
    assert tables.memory.read(HIGH, 0x1000) == data[0xC00:0x1C00]
    assert tables.memory.read(DATA, 0xC00) == data[0x1C00:]


def test_nothing_is_written_when_a_later_page_is_absent(tables: Tables) -> None:
    tables.map(KERNEL, DATA | PRESENT)
    with fault("is not mapped"):
        tables.virtual.write(KERNEL + 0xFFC, b"too long")
    assert not any(tables.memory.read(DATA, 0x1000))


def test_a_size_larger_than_ram_faults_at_once(tables: Tables) -> None:
    tables.memory.write(ROOT, b"".join((ROOT | PRESENT).to_bytes(8, "little") for _ in range(512)))
    with fault("more than the guest has"):
        tables.virtual.read(0, 1 << 46)


def test_a_range_that_wraps_around_faults(tables: Tables) -> None:
    last = (1 << 64) - 0x1000
    tables.map(last, DATA | PRESENT)
    tables.map(0, DATA | PRESENT)
    assert tables.virtual.read(last + 0xFFC, 4) == bytes(4)
    with fault("guest virtual 0x10000000000000000"):
        tables.virtual.read(last + 0xFFC, 8)


ENTRIES = st.sampled_from([at | PRESENT for at in range(0, SIZE, 0x1000)]) | st.integers(0, (1 << 64) - 1)


@given(
    st.lists(ENTRIES, min_size=1, max_size=16),
    st.integers(0, SIZE) | st.integers(0, (1 << 64) - 1),
    st.integers(0, 2 * SIZE),
    st.sampled_from([0, LA57]),
)
def test_hostile_tables_give_memory_or_a_fault(entries: list[int], address: int, size: int, cr4: int) -> None:
    ram = memory()
    words = b"".join(entry.to_bytes(8, "little") for entry in entries)
    ram.write(0, (words * SIZE)[:SIZE])
    virtual = VirtualMemory(ram, ROOT, cr4)
    with contextlib.suppress(GuestFault):
        assert len(virtual.read(address, size)) == size
    assert 0 <= virtual.contiguous(address) <= SIZE
