# SPDX-License-Identifier: GPL-2.0-or-later
"""EFI_MEMORY_ATTRIBUTES_TABLE covers all runtime memory and nothing else, and says what is true of it."""

from __future__ import annotations

import struct
from itertools import pairwise

import pytest

from pvefi.efi.boot.image import exit_boot_services
from pvefi.efi.boot.memory import allocate_pages, allocate_pool, free_pages, get_memory_map
from pvefi.efi.environment import LoadedImage
from pvefi.spec.uefi import guids
from pvefi.spec.uefi.memory import PAGE_SIZE, AllocateType, MemoryAttribute, MemoryDescriptor, MemoryType
from pvefi.trace.events import Address
from tests.efi.boot.guest import FakeGuest

CODE, DATA = MemoryType.RUNTIME_SERVICES_CODE, MemoryType.RUNTIME_SERVICES_DATA
RUNTIME, RO, XP = MemoryAttribute.RUNTIME, MemoryAttribute.RO, MemoryAttribute.XP
HANDLE = Address(0x1234)


def table_address(guest: FakeGuest) -> int | None:
    return dict(guest.efi.tables.configuration_tables).get(guids.MEMORY_ATTRIBUTES_TABLE)


def entries(guest: FakeGuest) -> list[MemoryDescriptor]:
    """Return what the table in the guest's memory says."""
    address = table_address(guest)
    assert address is not None
    version, count, size, flags = struct.unpack("<IIII", guest.memory.read(address, 16))
    assert (version, flags) == (2, 0)
    return [
        MemoryDescriptor.unpack(guest.memory.read(address + 16 + at * size, MemoryDescriptor.SIZE))
        for at in range(count)
    ]


def pages_of(descriptors: list[MemoryDescriptor]) -> dict[int, MemoryType]:
    return {
        page: one.type
        for one in descriptors
        for page in range(one.physical_start, one.physical_start + one.number_of_pages * PAGE_SIZE, PAGE_SIZE)
    }


def covers_exactly_runtime_memory(guest: FakeGuest, memory_map: list[MemoryDescriptor]) -> None:
    found = entries(guest)
    assert pages_of(found) == pages_of([one for one in memory_map if one.type in (CODE, DATA)])
    for one, following in pairwise(found):
        assert one.physical_start + one.number_of_pages * PAGE_SIZE <= following.physical_start
    # Linux drivers/firmware/efi/memattr.c: an entry lies within one descriptor of the map.
    for one in found:
        assert any(
            other.type == one.type
            and other.physical_start <= one.physical_start
            and one.physical_start + one.number_of_pages * PAGE_SIZE
            <= other.physical_start + other.number_of_pages * PAGE_SIZE
            for other in memory_map
        )


def allocate(guest: FakeGuest, memory_type: MemoryType, pages: int = 1, at: int | None = None) -> int:
    place = guest.pointer(at or 0)
    kind = AllocateType.ANY_PAGES if at is None else AllocateType.ADDRESS
    allocate_pages(guest.efi, kind, memory_type, pages, place)
    return place.get()


def ask_for_map(guest: FakeGuest) -> list[MemoryDescriptor]:
    get_memory_map(guest.efi, guest.number(1 << 16), guest.put(bytes(1 << 16)), None, None, None)
    return list(guest.efi.pages.descriptors())


def test_pvefi_s_own_code_is_read_only_and_its_data_not_executable(guest: FakeGuest) -> None:
    gates, mailbox = (guest.efi.trampoline.segment(name) for name in (".gates", ".mailbox"))
    assert [(one.type, one.physical_start, one.attribute) for one in entries(guest)] == [
        (CODE, gates.address, RUNTIME | RO),
        (DATA, mailbox.address, RUNTIME | XP),
    ]
    assert all(one.virtual_start == 0 for one in entries(guest))
    covers_exactly_runtime_memory(guest, list(guest.efi.pages.descriptors()))


def test_the_table_outlives_boot_services_where_no_kernel_reuses_it(guest: FakeGuest) -> None:
    address = table_address(guest)
    assert address is not None
    span = guest.efi.pages.span_at(address)
    assert span is not None
    assert span.type == DATA


def test_what_a_guest_allocates_is_there_with_the_memory_map(guest: FakeGuest) -> None:
    data = allocate(guest, DATA, 3)
    code = allocate(guest, CODE, 2)
    allocate_pool(guest.efi, DATA, 100, guest.pointer())
    allocate(guest, MemoryType.LOADER_CODE)
    memory_map = ask_for_map(guest)
    covers_exactly_runtime_memory(guest, memory_map)
    attributes = {one.physical_start: one.attribute for one in entries(guest)}
    assert attributes[code] == RUNTIME
    assert any(start <= data and attribute == RUNTIME | XP for start, attribute in attributes.items())
    free_pages(guest.efi, Address(code), 2)
    covers_exactly_runtime_memory(guest, ask_for_map(guest))


def test_code_of_a_guest_beside_the_gates_is_not_taken_for_them(guest: FakeGuest) -> None:
    gates = guest.efi.trampoline.segment(".gates").address
    before = allocate(guest, CODE, at=gates - PAGE_SIZE)
    memory_map = ask_for_map(guest)
    covers_exactly_runtime_memory(guest, memory_map)
    attributes = {one.physical_start: one.attribute for one in entries(guest)}
    assert attributes[before] == RUNTIME
    assert attributes[gates] == RUNTIME | RO


def test_what_changed_since_the_last_memory_map_is_there_after_exit_boot_services(guest: FakeGuest) -> None:
    guest.efi.images[HANDLE] = LoadedImage(HANDLE, "image", 0, 0, 0)
    allocate(guest, DATA, 5)
    ask_for_map(guest)
    allocate(guest, DATA, 7)
    guest.run(exit_boot_services(guest.efi, HANDLE, guest.efi.pages.key))
    covers_exactly_runtime_memory(guest, list(guest.efi.final_memory_map))


def test_a_guest_with_more_pieces_than_there_is_room_for_goes_without(guest: FakeGuest) -> None:
    start = 0x1000000
    for number in range(200):
        allocate(guest, DATA, at=start + 2 * number * PAGE_SIZE)
    ask_for_map(guest)
    assert table_address(guest) is None
    for number in range(0, 200, 2):
        free_pages(guest.efi, Address(start + 2 * number * PAGE_SIZE), 1)
    covers_exactly_runtime_memory(guest, ask_for_map(guest))


def test_where_nothing_stays_there_is_no_table() -> None:
    guest = FakeGuest("minimal")
    ask_for_map(guest)
    assert table_address(guest) is None


@pytest.mark.parametrize("memory_type", [MemoryType.BOOT_SERVICES_DATA, MemoryType.ACPI_NVS])
def test_other_memory_changes_nothing(guest: FakeGuest, memory_type: MemoryType) -> None:
    before = entries(guest)
    allocate(guest, memory_type, 4)
    ask_for_map(guest)
    assert entries(guest) == before
