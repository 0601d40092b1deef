# SPDX-License-Identifier: GPL-2.0-or-later
"""A domain's memory is mapped where somebody looks, and no page that is not there does harm."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import pytest

from pvefi.errors import GuestFault
from pvefi.machines.xen.foreign_memory import DomainMemory
from pvefi.spec.xen.start_info import HvmMemmapTableEntry, MemmapType
from tests.machines.xen.made import MIB, RAM_SIZE, FakeLibraries, FakeXen

PAGE = 4096


@pytest.fixture
def xen() -> Iterator[FakeXen]:
    one = FakeXen()
    yield one
    one.close()


@pytest.fixture
def memory(xen: FakeXen) -> Iterator[DomainMemory]:
    one = DomainMemory(FakeLibraries(xen), xen.domid, RAM_SIZE)
    yield one
    one.close()


def test_nothing_is_mapped_until_somebody_looks_and_then_little(xen: FakeXen, memory: DomainMemory) -> None:
    assert memory.mapped == xen.mapped() == 0
    memory.memory.write(MIB + 5, b"abc")
    assert xen.ram[MIB + 5 : MIB + 8] == b"abc"
    assert 0 < xen.mapped() == memory.mapped <= MIB


def test_what_crosses_pages_that_were_mapped_at_different_times_is_one(
    xen: FakeXen, memory: DomainMemory
) -> None:
    memory.memory.read(2 * MIB, 1)
    data = bytes(range(256)) * 8192
    memory.memory.write(MIB, data)
    assert xen.ram[MIB : MIB + len(data)] == data
    assert memory.memory.read(MIB, len(data)) == data


def test_a_page_that_is_not_there_faults_and_its_neighbours_do_not(
    xen: FakeXen, memory: DomainMemory
) -> None:
    xen.absent.add(MIB // PAGE + 1)
    ram = memory.memory
    ram.write(MIB, b"y" * PAGE)
    ram.write(MIB + 2 * PAGE, b"z" * PAGE)
    for address, size in ((MIB + PAGE, 1), (MIB, 2 * PAGE), (MIB + 2 * PAGE - 1, 2)):
        with pytest.raises(GuestFault):
            ram.write(address, bytes(size))
    assert xen.ram[MIB : MIB + PAGE] == b"y" * PAGE
    assert ram.contiguous(MIB) == PAGE
    assert ram.contiguous(MIB + PAGE) == 0


def test_a_page_that_has_come_back_is_there(xen: FakeXen, memory: DomainMemory) -> None:
    xen.absent.add(7)
    with pytest.raises(GuestFault):
        memory.memory.read(7 * PAGE, 1)
    xen.absent.clear()
    memory.memory.write(7 * PAGE, b"back")
    assert xen.ram[7 * PAGE : 7 * PAGE + 4] == b"back"


def test_a_view_of_a_part_shows_the_memory_again_once_it_is_reached(
    xen: FakeXen, memory: DomainMemory
) -> None:
    part = memory.part(MIB, 2 * PAGE)
    view = part.view(MIB, 2 * PAGE)
    memory.forget()
    xen.ram[MIB : MIB + 3] = b"new"
    assert bytes(view[:3]) == bytes(3)
    part.storable(MIB, 2 * PAGE)
    assert bytes(view[:3]) == b"new"


def test_a_domain_that_has_gone_faults(xen: FakeXen, memory: DomainMemory) -> None:
    xen.gone = True
    with pytest.raises(GuestFault, match="cannot be mapped"):
        memory.memory.read(0, 1)


@pytest.mark.parametrize(("address", "size"), [(RAM_SIZE, 1), (RAM_SIZE - 1, 2), (0, -1), (1 << 63, 8)])
def test_what_is_no_memory_faults_and_maps_nothing(
    xen: FakeXen, memory: DomainMemory, address: int, size: int
) -> None:
    with pytest.raises(GuestFault):
        memory.memory.read(address, size)
    assert xen.mapped() == 0


@pytest.mark.parametrize("end", [(4 << 30) + RAM_SIZE + 1, 1 << 41, 1 << 47, (1 << 64) - 1, 1 << 64])
def test_a_map_of_more_memory_than_xen_has_given_faults_and_costs_nothing(
    memory: DomainMemory, end: int
) -> None:
    start = 4 << 30
    tracemalloc.start()
    try:
        with pytest.raises(GuestFault, match="memory map"):
            memory.place([HvmMemmapTableEntry(start, end - start, MemmapType.RAM, 0)])
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()
    assert memory.memory.read(MIB, 1) == b"\0"


def test_memory_on_both_sides_of_the_hole_is_the_guests() -> None:
    high = FakeXen(high=MIB)
    one = DomainMemory(FakeLibraries(high), high.domid, RAM_SIZE + MIB)
    try:
        for _ in range(2):  # a guest may tell it twice
            ram = one.place(
                [
                    HvmMemmapTableEntry(0, RAM_SIZE, MemmapType.RAM, 0),
                    HvmMemmapTableEntry(4 << 30, MIB, MemmapType.RAM, 0),
                ]
            )
            ram.write(4 << 30, b"high")
            assert high.ram[RAM_SIZE : RAM_SIZE + 4] == b"high"
            assert high.mapped() == one.mapped
    finally:
        one.close()
        high.close()
