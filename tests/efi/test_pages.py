# SPDX-License-Identifier: GPL-2.0-or-later
"""The memory map: built from any machine's ranges, allocated from, and told to the guest."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvefi.efi.errors import EfiError
from pvefi.efi.pages import DESCRIPTOR_SIZE, PageMap
from pvefi.spec.uefi.memory import AllocateType, MemoryAttribute, MemoryDescriptor, MemoryType
from pvefi.spec.uefi.status import EfiStatus
from pvefi.spec.xen.start_info import MemmapType

ANY, MAX, ADDRESS = AllocateType.ANY_PAGES, AllocateType.MAX_ADDRESS, AllocateType.ADDRESS
DATA, CODE = MemoryType.LOADER_DATA, MemoryType.LOADER_CODE
RAM, RESERVED = MemmapType.RAM, MemmapType.RESERVED
MIB, GIB = 1 << 20, 1 << 30


def ram(size: int = 64 * MIB) -> PageMap:
    return PageMap.from_memmap([(0, 0xA0000, RAM), (MIB, size - MIB, RAM)])


def types(pages: PageMap) -> list[tuple[int, int, MemoryType]]:
    return [(item.physical_start, item.number_of_pages, item.type) for item in pages.descriptors()]


def refusal(status: EfiStatus, why: str = "") -> pytest.RaisesExc[EfiError]:
    return pytest.raises(EfiError, match=f"EFI_{status.name}: .*{why}")


def test_ram_rounds_inwards_and_everything_else_outwards() -> None:
    pages = PageMap.from_memmap([(0x1800, 0x8000, RAM), (0x9FC00, 0x400, RESERVED)])
    assert types(pages) == [(0x2000, 7, MemoryType.CONVENTIONAL), (0x9F000, 1, MemoryType.RESERVED)]


def test_ram_that_is_cut_within_a_page_is_whole_again() -> None:
    pages = PageMap.from_memmap([(0x1800, 0x1800, RAM), (0x1000, 0x800, RAM)])
    assert types(pages) == [(0x1000, 2, MemoryType.CONVENTIONAL)]


@pytest.mark.parametrize("swap", [False, True])
def test_reserved_memory_wins_over_ram_in_any_order(swap: bool) -> None:
    entries = [(MIB, MIB, RAM), (MIB + 0x7800, 0x1000, RESERVED)]
    pages = PageMap.from_memmap(reversed(entries) if swap else entries)
    assert types(pages) == [
        (MIB, 7, MemoryType.CONVENTIONAL),
        (MIB + 0x7000, 2, MemoryType.RESERVED),
        (MIB + 0x9000, 0xF7, MemoryType.CONVENTIONAL),
    ]


def test_where_acpi_tables_and_nvs_meet_in_a_page_nvs_keeps_it() -> None:
    pages = PageMap.from_memmap([(0x1000, 0x1800, MemmapType.ACPI), (0x2800, 0x800, MemmapType.NVS)])
    assert types(pages) == [(0x1000, 1, MemoryType.ACPI_RECLAIM), (0x2000, 1, MemoryType.ACPI_NVS)]


def test_empty_entries_are_dropped_and_ranges_above_ram_stay() -> None:
    pages = PageMap.from_memmap([(MIB, 0, RAM), (0xFD00000000, 3 * GIB, RESERVED)])
    assert types(pages) == [(0xFD00000000, 3 * GIB // 4096, MemoryType.RESERVED)]


def test_page_0_is_reserved_when_it_is_ram() -> None:
    assert types(ram())[0] == (0, 1, MemoryType.RESERVED)
    with refusal(EfiStatus.NOT_FOUND, "page 0"):
        ram().allocate(ADDRESS, DATA, 1, 0)


def test_an_entry_that_runs_past_the_address_space_ends_with_it() -> None:
    pages = PageMap.from_memmap([((1 << 64) - 0x1000, 1 << 63, RAM)])
    assert types(pages) == [((1 << 64) - 0x1000, 1, MemoryType.CONVENTIONAL)]


def test_kinds_of_memory_that_nobody_knows_are_reserved() -> None:
    pages = PageMap.from_memmap([(MIB, MIB, MemmapType(77)), (2 * MIB, MIB, MemmapType.GRANT_TABLE)])
    assert types(pages) == [(MIB, 512, MemoryType.RESERVED)]
    assert [span.name for span in pages.spans] == ["memmaptype(0x4d)", "grant_table"]


def test_ram_can_be_cached_and_a_device_range_cannot() -> None:
    pages = PageMap.from_memmap([(MIB, MIB, RAM), (4 * GIB - MIB, MIB, RESERVED)])
    conventional, device = pages.descriptors()
    assert conventional.attribute == 0xF
    assert device.attribute == MemoryAttribute.UC


@pytest.mark.parametrize("memory_type", [MemoryType.RUNTIME_SERVICES_CODE, MemoryType.RUNTIME_SERVICES_DATA])
def test_runtime_memory_says_that_the_system_must_map_it(memory_type: MemoryType) -> None:
    pages = ram()
    pages.allocate(ANY, memory_type, 1, 0)
    assert [item.type for item in pages.descriptors() if item.attribute >> 63] == [memory_type]


def test_pages_come_from_the_top_so_that_16_mib_stays_free() -> None:
    pages = ram(64 * MIB)
    assert pages.allocate(ANY, DATA, 4, 0) == 64 * MIB - 0x4000
    assert pages.allocate(ANY, CODE, 1, 0) == 64 * MIB - 0x5000
    assert pages.allocate(ADDRESS, DATA, 47 * MIB // 4096, 16 * MIB) == 16 * MIB


def test_pages_come_from_below_4_gib_while_that_lasts() -> None:
    pages = PageMap.from_memmap([(MIB, 2 * MIB, RAM), (4 * GIB, GIB, RAM)])
    assert pages.allocate(ANY, DATA, 512, 0) == MIB
    assert pages.allocate(ANY, DATA, 1, 0) == 5 * GIB - 0x1000


def test_the_highest_address_allowed_is_that_of_the_last_byte() -> None:
    pages = ram()
    assert pages.allocate(MAX, DATA, 1, 16 * MIB - 1) == 16 * MIB - 0x1000
    assert pages.allocate(MAX, DATA, 1, 16 * MIB - 2) == 16 * MIB - 0x2000
    with refusal(EfiStatus.OUT_OF_RESOURCES):
        pages.allocate(MAX, DATA, 1, 0xFFE)


def test_alignment_is_kept_from_above() -> None:
    pages = ram()
    pages.allocate(ANY, DATA, 1, 0)
    assert pages.allocate(ANY, CODE, 3, 0, alignment=2 * MIB) == 62 * MIB


def test_the_lowest_free_place_has_the_alignment_and_the_minimum_asked_for() -> None:
    pages = ram()
    assert pages.lowest_free(512, alignment=2 * MIB) == 2 * MIB
    assert pages.lowest_free(1) == MIB
    assert pages.lowest_free(1, minimum=0) == 0x1000
    assert pages.lowest_free(64 * MIB) is None


@pytest.mark.parametrize("value", [7, 14, 15, 16, 0x6FFFFFFF])
def test_types_that_the_specification_forbids_are_refused(value: int) -> None:
    with refusal(EfiStatus.INVALID_PARAMETER, "cannot be allocated"):
        ram().allocate(ANY, MemoryType(value), 1, 0)


@pytest.mark.parametrize("value", [0, 1, 13, 0x70000000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_types_of_oems_and_systems_are_kept_as_they_are(value: int) -> None:
    pages = ram()
    address = pages.allocate(ANY, MemoryType(value), 1, 0)
    assert (address, 1, value) in types(pages)
    packed = pages.packed()
    stored = [MemoryDescriptor.unpack(packed, at) for at in range(0, len(packed), DESCRIPTOR_SIZE)]
    assert value in [int(item.type) for item in stored]


def test_a_way_to_allocate_that_does_not_exist_is_refused() -> None:
    with refusal(EfiStatus.INVALID_PARAMETER):
        ram().allocate(AllocateType(3), DATA, 1, 0)


@pytest.mark.parametrize("pages", [0, 1 << 20, 1 << 52, (1 << 64) - 1])
@pytest.mark.parametrize(
    ("kind", "status"), [(ANY, EfiStatus.OUT_OF_RESOURCES), (ADDRESS, EfiStatus.NOT_FOUND)]
)
def test_no_pages_and_too_many_are_refused(kind: AllocateType, pages: int, status: EfiStatus) -> None:
    made = ram()
    before = made.key
    with refusal(status):
        made.allocate(kind, DATA, pages, MIB)
    assert made.key == before


@pytest.mark.parametrize("address", [MIB + 1, 0x9F000, 63 * MIB + 0xFF000, 1 << 63])
def test_an_address_that_is_not_free_for_all_pages_is_not_found(address: int) -> None:
    with refusal(EfiStatus.NOT_FOUND):
        ram().allocate(ADDRESS, DATA, 2, address)


def test_a_refusal_names_the_holder() -> None:
    pages = ram()
    pages.reserve(2 * MIB, 100, MemoryType.RUNTIME_SERVICES_CODE, "gates")
    with refusal(EfiStatus.NOT_FOUND, "held by gates at 0x200000"):
        pages.allocate(ADDRESS, DATA, 2, 2 * MIB - 0x1000)
    with refusal(EfiStatus.NOT_FOUND, "held by gates"):
        pages.free(2 * MIB, 1)


def test_what_is_reserved_takes_every_page_it_touches_and_only_free_ones() -> None:
    pages = ram()
    pages.reserve(2 * MIB + 0xFFF, 2, MemoryType.BOOT_SERVICES_DATA, "stack")
    assert (2 * MIB, 2, MemoryType.BOOT_SERVICES_DATA) in types(pages)
    for address, size in ((2 * MIB, 1), (0xA0000, 1), (64 * MIB - 1, 2), (MIB, 0)):
        with pytest.raises(ValueError, match="expected free memory"):
            pages.reserve(address, size, MemoryType.BOOT_SERVICES_DATA, "again")


def test_a_part_of_an_allocation_can_be_given_back() -> None:
    pages = ram()
    pages.allocate(ADDRESS, DATA, 8, 2 * MIB)
    pages.free(2 * MIB + 0x2000, 3)
    assert (2 * MIB, 2, DATA) in types(pages)
    assert (2 * MIB + 0x5000, 3, DATA) in types(pages)


def test_two_allocations_that_touch_can_be_given_back_at_once() -> None:
    pages = ram()
    before = types(pages)
    pages.allocate(ADDRESS, DATA, 1, 2 * MIB)
    pages.allocate(ADDRESS, CODE, 1, 2 * MIB + 0x1000)
    pages.free(2 * MIB, 2)
    assert types(pages) == before


def test_giving_back_more_than_was_taken_gives_back_nothing() -> None:
    pages = ram()
    pages.allocate(ADDRESS, DATA, 2, 2 * MIB)
    before = types(pages), pages.key
    with refusal(EfiStatus.NOT_FOUND, "0x202000 is held by free"):
        pages.free(2 * MIB, 3)
    assert (types(pages), pages.key) == before


@pytest.mark.parametrize(
    ("address", "count", "status"),
    [
        (2 * MIB + 8, 1, EfiStatus.INVALID_PARAMETER),
        (2 * MIB, 0, EfiStatus.INVALID_PARAMETER),
        (3 * MIB, 1, EfiStatus.NOT_FOUND),
        (0xA0000, 1, EfiStatus.NOT_FOUND),
        (2 * MIB, 1 << 63, EfiStatus.NOT_FOUND),
        (1 << 63, (1 << 64) - 1, EfiStatus.NOT_FOUND),
    ],
)
def test_what_was_not_allocated_cannot_be_given_back(address: int, count: int, status: EfiStatus) -> None:
    pages = ram()
    pages.allocate(ADDRESS, DATA, 1, 2 * MIB)
    with refusal(status):
        pages.free(address, count)


def test_pages_of_one_holder_are_not_given_back_by_another() -> None:
    pages = ram()
    address = pages.allocate(ANY, DATA, 1, 0, name="pool")
    with refusal(EfiStatus.NOT_FOUND, "held by pool"):
        pages.free(address, 1)
    pages.free(address, 1, name="pool")


def test_neighbours_of_one_type_are_one_descriptor_whoever_holds_them() -> None:
    pages = ram()
    pages.allocate(ADDRESS, DATA, 1, 2 * MIB)
    pages.allocate(ADDRESS, DATA, 1, 2 * MIB + 0x1000, name="pool")
    assert (2 * MIB, 2, DATA) in types(pages)


def test_the_key_changes_with_the_map_and_not_without() -> None:
    pages = ram()
    keys = [pages.key]
    pages.descriptors()
    pages.packed()
    assert pages.key == keys[0]
    address = pages.allocate(ANY, DATA, 1, 0)
    keys.append(pages.key)
    pages.free(address, 1)
    keys.append(pages.key)
    assert len(set(keys)) == 3


def test_packed_descriptors_stand_48_bytes_apart_and_follow_the_map() -> None:
    pages = ram()
    for _ in range(2):
        packed = pages.packed()
        read = [MemoryDescriptor.unpack(packed, at) for at in range(0, len(packed), DESCRIPTOR_SIZE)]
        assert tuple(read) == pages.descriptors()
        pages.allocate(ANY, DATA, 1, 0)


PAGES = 48
BASE = 0x100
kinds = st.sampled_from([ANY, MAX, ADDRESS])
places = st.integers(BASE - 2, BASE + PAGES + 2)
steps = st.one_of(
    st.tuples(kinds, st.sampled_from([DATA, CODE]), st.integers(0, 9), places),
    st.tuples(st.none(), st.none(), st.integers(0, 9), places),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(steps, max_size=30), st.sets(st.integers(BASE, BASE + PAGES - 1), max_size=3))
def test_the_map_agrees_with_one_that_keeps_every_page_by_itself(
    todo: list[tuple[AllocateType | None, MemoryType | None, int, int]], holes: set[int]
) -> None:
    pages = PageMap.from_memmap(
        [(BASE << 12, PAGES << 12, RAM), *((hole << 12, 1, RESERVED) for hole in holes)]
    )
    naive = {
        page: MemoryType.RESERVED if page in holes else MemoryType.CONVENTIONAL
        for page in range(BASE, BASE + PAGES)
    }

    def is_free(first: int, count: int) -> bool:
        return all(naive.get(page) == MemoryType.CONVENTIONAL for page in range(first, first + count))

    for kind, memory_type, count, page in todo:
        if kind is None or memory_type is None:
            taken = [naive.get(at) in (DATA, CODE) for at in range(page, page + count)]
            if count and all(taken):
                pages.free(page << 12, count)
                naive.update(dict.fromkeys(range(page, page + count), MemoryType.CONVENTIONAL))
            else:
                with pytest.raises(EfiError):
                    pages.free(page << 12, count)
            continue
        top = BASE + PAGES if kind == ANY else min(page + 1, BASE + PAGES)
        starts = [page] if kind == ADDRESS else range(top - count, BASE - 1, -1)
        expected = next((at for at in starts if count and is_free(at, count)), None)
        address = (page << 12) + (0xFFF if kind == MAX else 0)
        if expected is None:
            with pytest.raises(EfiError):
                pages.allocate(kind, memory_type, count, address)
        else:
            assert pages.allocate(kind, memory_type, count, address) == expected << 12
            naive.update(dict.fromkeys(range(expected, expected + count), memory_type))
    told = pages.descriptors()
    assert {
        (item.physical_start >> 12) + at: item.type for item in told for at in range(item.number_of_pages)
    } == naive
    ends = [item.physical_start + (item.number_of_pages << 12) for item in told]
    for earlier_end, earlier, later in zip(ends, told, told[1:], strict=False):
        assert earlier_end <= later.physical_start
        assert earlier.type != later.type or earlier.attribute != later.attribute
