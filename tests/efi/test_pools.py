# SPDX-License-Identifier: GPL-2.0-or-later
"""Pool memory: alignment, what may be freed, and how little of the memory map it takes."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvefi.efi.errors import EfiError
from pvefi.efi.pages import PageMap
from pvefi.efi.pools import Pools
from pvefi.spec.uefi.memory import AllocateType, MemoryType
from pvefi.spec.xen.start_info import MemmapType

DATA, BOOT = MemoryType.LOADER_DATA, MemoryType.BOOT_SERVICES_DATA
MIB = 1 << 20


def pools(size: int = 8 * MIB) -> tuple[PageMap, Pools]:
    pages = PageMap.from_memmap([(MIB, size, MemmapType.RAM)])
    return pages, Pools(pages)


def test_every_piece_is_aligned_and_its_own() -> None:
    _, pool = pools()
    taken = sorted((pool.allocate(DATA, size), size) for size in (0, 1, 8, 31, 33, 500, 2048, 2049, 70000))
    assert all(address % 16 == 0 for address, _ in taken)
    for (address, size), (later, _) in pairwise(taken):
        assert address + max(size, 1) <= later


def test_a_piece_lies_in_memory_of_its_type() -> None:
    pages, pool = pools()
    for memory_type in (DATA, MemoryType(0x80000001)):
        for size in (1, 5000):
            span = pages.span_at(pool.allocate(memory_type, size))
            assert span is not None
            assert span.type == memory_type


def test_hundreds_of_allocations_of_six_types_make_a_map_of_twenty_descriptors() -> None:
    pages, pool = pools(64 * MIB)
    for at in range(1000):
        pool.allocate(MemoryType(1 + at % 6), 8 << (at % 9))
    assert len(pages.descriptors()) <= 20


def test_of_memory_that_no_kernel_gets_back_no_more_is_taken_than_is_used() -> None:
    pages, pool = pools()
    for _ in range(2):
        pool.allocate(MemoryType.ACPI_RECLAIM, 36)
    assert sum(span.pages for span in pages.spans if span.type is MemoryType.ACPI_RECLAIM) == 1
    for size in (64, 128, 256):
        pool.allocate(MemoryType.ACPI_RECLAIM, size)
    assert sum(span.pages for span in pages.spans if span.type is MemoryType.ACPI_RECLAIM) == 4


def test_what_is_freed_is_used_again_and_the_map_stays_as_it_is() -> None:
    pages, pool = pools()
    pool.allocate(DATA, 100)
    address = pool.allocate(DATA, 100)
    key = pages.key
    pool.free(address)
    assert pool.allocate(DATA, 100) == address
    assert pages.key == key


def test_when_all_is_freed_all_pages_are_back() -> None:
    pages, pool = pools()
    before = pages.descriptors()
    taken = [pool.allocate(DATA, size) for size in (1, 64, 3000, 20, 2048, 2048, 2048, 100000)]
    for address in taken:
        pool.free(address)
    assert pages.descriptors() == before


def test_a_double_free_is_refused() -> None:
    _, pool = pools()
    for size in (10, 10000):
        address = pool.allocate(DATA, size)
        pool.free(address)
        with pytest.raises(EfiError, match="no longer"):
            pool.free(address)


@pytest.mark.parametrize("offset", [1, 16, 0x1000, -16])
def test_an_address_within_a_piece_is_refused(offset: int) -> None:
    _, pool = pools()
    address = pool.allocate(DATA, 10000)
    with pytest.raises(EfiError, match="EFI_INVALID_PARAMETER"):
        pool.free(address + offset)


@pytest.mark.parametrize("address", [0, 8, MIB, 1 << 63, (1 << 64) - 1])
def test_an_address_that_was_never_given_out_is_refused(address: int) -> None:
    _, pool = pools()
    pool.allocate(DATA, 1)
    with pytest.raises(EfiError, match="EFI_INVALID_PARAMETER"):
        pool.free(address)


@pytest.mark.parametrize("value", [7, 14, 15, 16, 0x6FFFFFFF])
def test_types_that_the_specification_forbids_are_refused(value: int) -> None:
    _, pool = pools()
    with pytest.raises(EfiError, match="EFI_INVALID_PARAMETER"):
        pool.allocate(MemoryType(value), 8)


@pytest.mark.parametrize("size", [9 * MIB, 1 << 63, (1 << 64) - 1])
def test_more_than_there_is_is_out_of_resources(size: int) -> None:
    _, pool = pools()
    with pytest.raises(EfiError, match="EFI_OUT_OF_RESOURCES"):
        pool.allocate(DATA, size)


def test_the_last_page_of_memory_still_serves() -> None:
    pages, pool = pools(0x3000)
    pages.allocate(AllocateType.ANY_PAGES, DATA, 2, 0)
    assert pool.allocate(BOOT, 8) == MIB
    with pytest.raises(EfiError, match="EFI_OUT_OF_RESOURCES"):
        pool.allocate(DATA, 8)


def test_the_guest_cannot_give_back_pool_memory_as_pages() -> None:
    pages, pool = pools()
    with pytest.raises(EfiError, match="held by pool"):
        pages.free(pool.allocate(DATA, 5000), 1)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6000), st.integers(0, 99)), max_size=60))
def test_no_two_pieces_overlap_whatever_the_order(steps: list[tuple[bool, int, int]]) -> None:
    pages, pool = pools()
    before = pages.descriptors()
    held: dict[int, int] = {}
    for wants, size, pick in steps:
        if wants or not held:
            address = pool.allocate(DATA if size % 2 else BOOT, size)
            assert all(address + size <= at or at + held[at] <= address for at in held)
            held[address] = max(size, 1)
        else:
            address = list(held)[pick % len(held)]
            del held[address]
            pool.free(address)
    for address in held:
        pool.free(address)
    assert pages.descriptors() == before
