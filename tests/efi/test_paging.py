# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory above 4 GiB, mapped one to one while boot services last."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from pvefi.efi.pages import PageMap
from pvefi.efi.paging import map_high_memory
from pvefi.errors import GuestFault
from pvefi.memory import VirtualMemory
from pvefi.spec.uefi.memory import AllocateType, MemoryType
from pvefi.spec.xen.start_info import HvmMemmapTableEntry, MemmapType
from tests.efi.boot.guest import FakeGuest

MIB, GIB = 1 << 20, 1 << 30
RAM, RESERVED = MemmapType.RAM, MemmapType.RESERVED
LAST = 512 * GIB - GIB


class Mapped:
    """A guest whose memory map has ranges above 4 GiB, whatever memory it really has."""

    def __init__(self, *ranges: tuple[int, int, MemmapType]) -> None:
        self.guest = FakeGuest()
        efi = self.guest.efi
        trampoline = efi.trampoline
        boot = trampoline.segment(".boot")
        self.guest.memory.write(boot.address, boot.data)
        entries = [HvmMemmapTableEntry(*one) for one in ranges]
        object.__setattr__(efi.start, "memory_map", (*efi.start.memory_map, *entries))
        self.root = trampoline.symbols["page_map_level4"]
        self.tables = VirtualMemory(self.guest.memory, self.root, 0)
        map_high_memory(efi)

    def mapped(self, address: int) -> bool:
        try:
            return self.tables.translate(address)[0] == address
        except GuestFault:
            return False

    def page_tables(self) -> Iterable[tuple[int, int]]:
        spans = self.guest.efi.pages.spans
        return [(span.start, span.end) for span in spans if span.name == "page tables"]


def test_the_first_4_gib_need_no_tables() -> None:
    mapped = Mapped()
    assert not mapped.page_tables()
    assert all(mapped.mapped(address) for address in (0x1000, MIB, 3 * GIB, 4 * GIB - 1))
    assert not mapped.mapped(0)
    assert not mapped.mapped(4 * GIB)


@pytest.mark.parametrize("size", [4096, GIB, 3 * GIB + 4096])
def test_every_byte_of_ram_above_4_gib_is_mapped(size: int) -> None:
    mapped = Mapped((4 * GIB, size, RAM))
    assert all(mapped.mapped(address) for address in range(4 * GIB, 4 * GIB + size, 16 * MIB))
    assert mapped.mapped(4 * GIB + size - 1)
    end = 4 * GIB + -(-size // GIB) * GIB
    assert not mapped.mapped(end)


def test_ram_that_begins_below_4_gib_is_mapped_above_too() -> None:
    mapped = Mapped((3 * GIB, 2 * GIB, RAM))
    assert mapped.mapped(5 * GIB - 1)
    assert not mapped.mapped(5 * GIB)


def test_ram_beyond_the_first_512_gib_gets_a_table_of_pointers() -> None:
    mapped = Mapped((LAST, 2 * GIB, RAM), (2048 * GIB, MIB, RAM))
    for address in (LAST, LAST + 2 * GIB - 1, 2048 * GIB):
        assert mapped.mapped(address)
    assert not mapped.mapped(513 * GIB)


def test_ranges_that_are_no_ram_are_not_mapped() -> None:
    mapped = Mapped((0xFD_0000_0000, 3 * GIB, RESERVED), (4 * GIB, 0, RAM))
    assert not mapped.page_tables()
    assert not mapped.mapped(0xFD_0000_0000)


def test_ranges_that_share_a_gigabyte_share_its_table() -> None:
    mapped = Mapped((4 * GIB, MIB, RAM), (4 * GIB + 2 * MIB, MIB, RAM))
    ((start, end),) = mapped.page_tables()
    assert end - start == 4096


def test_page_tables_are_boot_services_data_below_4_gib() -> None:
    mapped = Mapped((4 * GIB, 8 * GIB, RAM))
    for start, end in mapped.page_tables():
        assert end <= 4 * GIB
        span = mapped.guest.efi.pages.span_at(start)
        assert span is not None
        assert span.type is MemoryType.BOOT_SERVICES_DATA


def test_without_room_for_page_tables_it_says_so() -> None:
    guest = FakeGuest()
    efi = guest.efi
    efi.pages = PageMap.from_memmap([(0, 2 * MIB, RAM), (4 * GIB, GIB, RAM)])
    below = sum(span.pages for span in efi.pages.spans if span.end <= 4 * GIB and span.type == 7)
    efi.pages.allocate(AllocateType.MAX_ADDRESS, MemoryType.LOADER_DATA, below, 4 * GIB - 1)
    entry = HvmMemmapTableEntry(4 * GIB, GIB, RAM)
    object.__setattr__(efi.start, "memory_map", (entry,))
    with pytest.raises(GuestFault, match=r"no memory for page tables.*give the guest more memory"):
        map_high_memory(efi)
