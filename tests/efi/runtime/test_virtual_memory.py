# SPDX-License-Identifier: GPL-2.0-or-later
"""SetVirtualAddressMap moves every pointer of the firmware's, or none."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace

import pytest

from pvefi.efi.environment import Phase
from pvefi.efi.errors import EfiError
from pvefi.efi.runtime.virtual_memory import convert_pointer, set_virtual_address_map
from pvefi.errors import GuestFault
from pvefi.spec.uefi import guids
from pvefi.spec.uefi.events import EVT_SIGNAL_VIRTUAL_ADDRESS_CHANGE, Tpl
from pvefi.spec.uefi.memory import (
    AllocateType,
    MemoryAttribute,
    MemoryDescriptor,
    MemoryType,
)
from pvefi.spec.uefi.tables import RUNTIME_SERVICES_SLOTS, SystemTable, TableHeader
from pvefi.trace.events import Address
from tests.efi.boot.guest import SIZE, FakeGuest, value_of

VIRTUAL = 0xFFFF_FFFE_0000_0000
RUNTIME = MemoryAttribute.RUNTIME


@pytest.fixture
def booted() -> FakeGuest:
    """A guest whose boot services have ended."""
    guest = FakeGuest()
    end_boot_services(guest)
    return guest


def end_boot_services(guest: FakeGuest) -> None:
    guest.efi.final_memory_map = guest.efi.pages.descriptors()
    guest.efi.phase = Phase.RUNTIME
    guest.efi.tables.leave_boot_services()


def runtime_map(guest: FakeGuest) -> list[MemoryDescriptor]:
    """Return the guest's runtime memory, the later a range lies the lower its virtual address."""
    ranges = [one for one in guest.efi.final_memory_map if one.attribute & RUNTIME]
    return [replace(one, virtual_start=VIRTUAL - at * 0x1000_0000) for at, one in enumerate(ranges)]


def set_map(guest: FakeGuest, descriptors: Sequence[MemoryDescriptor], *, size: int = 48) -> None:
    data = b"".join(one.pack().ljust(size, b"\xff") for one in descriptors)
    guest.run(set_virtual_address_map(guest.efi, len(data), size, 1, guest.put(data)))


def moved(descriptors: Sequence[MemoryDescriptor], address: int) -> int:
    for one in descriptors:
        if one.physical_start <= address < one.physical_start + (one.number_of_pages << 12):
            return address - one.physical_start + one.virtual_start
    raise AssertionError(f"{address:#x} is in no range")


def slots(guest: FakeGuest) -> list[int]:
    return guest.words(guest.efi.tables.runtime_services + TableHeader.SIZE, len(RUNTIME_SERVICES_SLOTS))


def system_table(guest: FakeGuest) -> SystemTable:
    return SystemTable.unpack(guest.memory.read(guest.efi.tables.system_table, SystemTable.SIZE))


def crc_is_right(guest: FakeGuest, address: int) -> bool:
    header = TableHeader.unpack(guest.memory.read(address, TableHeader.SIZE))
    data = bytearray(guest.memory.read(address, header.header_size))
    data[16:20] = bytes(4)
    return zlib.crc32(data) == header.crc32


def mailbox_pointer(guest: FakeGuest) -> int:
    return guest.words(guest.efi.trampoline.symbols["mailbox_pointer"], 1)[0]


def everything(guest: FakeGuest) -> tuple[object, ...]:
    return slots(guest), system_table(guest), mailbox_pointer(guest)


@pytest.mark.parametrize("size", [40, 48, 104])
def test_every_pointer_of_the_firmware_s_is_moved(booted: FakeGuest, size: int) -> None:
    before, table = slots(booted), system_table(booted)
    given = runtime_map(booted)
    set_map(booted, given, size=size)
    assert slots(booted) == [moved(given, slot) for slot in before]
    now = system_table(booted)
    for name in ("firmware_vendor", "runtime_services", "configuration_table"):
        assert getattr(now, name) == moved(given, getattr(table, name)), name
    assert now.number_of_table_entries == table.number_of_table_entries
    assert crc_is_right(booted, booted.efi.tables.system_table)
    assert crc_is_right(booted, booted.efi.tables.runtime_services)
    symbols = booted.efi.trampoline.symbols
    assert mailbox_pointer(booted) == moved(given, symbols["mailbox"])
    # The gates and the mailbox may move by different distances: nothing but the literal knows of both.
    distance = moved(given, symbols["gates"]) - symbols["gates"]
    assert mailbox_pointer(booted) - symbols["mailbox"] != distance


def test_the_configuration_tables_stay_where_they_are(booted: FakeGuest) -> None:
    place = system_table(booted).configuration_table
    before = booted.words(place, 3 * system_table(booted).number_of_table_entries)
    set_map(booted, runtime_map(booted))
    assert booted.words(place, len(before)) == before


def test_ranges_may_be_merged_and_others_be_there_too(booted: FakeGuest) -> None:
    first, second = [one for one in runtime_map(booted) if one.physical_start < 0x810000][:2]
    assert first.physical_start + (first.number_of_pages << 12) == second.physical_start
    merged = replace(first, number_of_pages=first.number_of_pages + second.number_of_pages)
    conventional = [one for one in booted.efi.final_memory_map if not one.attribute & RUNTIME]
    others = [one for one in runtime_map(booted) if one not in (first, second)]
    set_map(booted, [*conventional, merged, *others])
    assert mailbox_pointer(booted) == moved([merged], booted.efi.trampoline.symbols["mailbox"])


def test_it_is_for_after_boot_services_and_for_once(guest: FakeGuest) -> None:
    guest.efi.final_memory_map = guest.efi.pages.descriptors()
    before = everything(guest)
    with pytest.raises(EfiError, match="EFI_UNSUPPORTED: boot services have not ended"):
        set_map(guest, runtime_map(guest))
    assert everything(guest) == before
    end_boot_services(guest)
    set_map(guest, runtime_map(guest))
    before = everything(guest)
    with pytest.raises(EfiError, match="EFI_UNSUPPORTED: virtual addresses were set before"):
        set_map(guest, runtime_map(guest))
    assert everything(guest) == before


@pytest.mark.parametrize(
    ("count", "size", "version"),
    [(1, 39, 1), (1, 0, 1), (1, 40, 0), (1, 40, 2), (0, 40, 1), (1 << 15, 40, 1), (1, 1 << 63, 1)],
)
def test_descriptors_that_make_no_sense_are_refused(
    booted: FakeGuest, count: int, size: int, version: int
) -> None:
    before = everything(booted)
    place = booted.put(bytes(64))
    with pytest.raises((EfiError, GuestFault)) as caught:
        booted.run(set_virtual_address_map(booted.efi, count * size, size, version, place))
    if size < 1 << 63:
        assert "EFI_INVALID_PARAMETER" in str(caught.value)
    assert everything(booted) == before


def test_runtime_memory_without_a_virtual_address_is_refused(booted: FakeGuest) -> None:
    before, given = everything(booted), runtime_map(booted)
    short = replace(given[-1], number_of_pages=given[-1].number_of_pages - 1)
    unmarked = replace(given[-1], attribute=0xF)
    for wrong in (given[1:], given[:-1], [*given[:-1], short], [*given[:-1], unmarked]):
        with pytest.raises(EfiError, match="EFI_NO_MAPPING"):
            set_map(booted, wrong)
    assert everything(booted) == before
    set_map(booted, given)


def test_a_range_that_is_no_memory_is_refused(booted: FakeGuest) -> None:
    before = everything(booted)
    beyond = MemoryDescriptor(MemoryType.RUNTIME_SERVICES_DATA, 0, SIZE, VIRTUAL, 1, RUNTIME)
    with pytest.raises(EfiError, match="EFI_NOT_FOUND"):
        set_map(booted, [*runtime_map(booted), beyond])
    assert everything(booted) == before


def test_the_highest_virtual_addresses_are_numbers_as_any_other(booted: FakeGuest) -> None:
    given = [replace(one, virtual_start=(1 << 64) - 1) for one in runtime_map(booted)]
    set_map(booted, given)
    assert mailbox_pointer(booted) == (moved(given, booted.efi.trampoline.symbols["mailbox"]) & (1 << 64) - 1)


def test_a_map_that_is_no_memory_ends_the_run(booted: FakeGuest) -> None:
    for wild in (SIZE - 8, SIZE, 1 << 63):
        with pytest.raises(GuestFault):
            booted.run(set_virtual_address_map(booted.efi, 48, 48, 1, Address(wild)))
    with pytest.raises(EfiError, match="EFI_INVALID_PARAMETER"):
        booted.run(set_virtual_address_map(booted.efi, 48, 48, 1, Address(0)))


# ---------------------------------------------------------------- those who are notified


def driver(guest: FakeGuest, memory_type: MemoryType = MemoryType.RUNTIME_SERVICES_CODE) -> tuple[int, int]:
    """Return the address of a function in new memory of a type, and an event that notifies it."""
    function = guest.efi.pages.allocate(AllocateType.ANY_PAGES, memory_type, 1, 0)
    event = guest.efi.events.create(EVT_SIGNAL_VIRTUAL_ADDRESS_CHANGE, Tpl.NOTIFY, function, 0x77)
    return function, event


def test_runtime_code_is_notified_while_pointers_can_be_converted() -> None:
    guest = FakeGuest()
    function, event = driver(guest)
    found: list[int] = []

    def notified(*_arguments: int) -> None:
        pointer = guest.pointer(function + 5)
        convert_pointer(guest.efi, 0, pointer)
        found.append(value_of(pointer))

    guest.functions[function] = notified
    end_boot_services(guest)
    guest.efi.events.tpl = Tpl.HIGH_LEVEL  # as a boot loader may have left it
    given = runtime_map(guest)
    set_map(guest, given)
    assert guest.calls == [(function, (event, 0x77))]
    assert found == [moved(given, function + 5)]


def test_code_that_the_operating_system_has_written_over_is_not_called() -> None:
    guest = FakeGuest()
    driver(guest, MemoryType.BOOT_SERVICES_CODE)
    driver(guest, MemoryType.LOADER_CODE)
    end_boot_services(guest)
    set_map(guest, runtime_map(guest))
    assert guest.calls == []


def test_events_of_the_group_are_notified_too() -> None:
    guest = FakeGuest()
    function = guest.efi.pages.allocate(AllocateType.ANY_PAGES, MemoryType.RUNTIME_SERVICES_CODE, 1, 0)
    group = guids.EVENT_GROUP_VIRTUAL_ADDRESS_CHANGE
    guest.efi.events.create(0x200, Tpl.CALLBACK, function, 1, group)
    guest.efi.events.create(0, group=group)
    end_boot_services(guest)
    set_map(guest, runtime_map(guest))
    assert [call for call, _ in guest.calls] == [function]


def test_pointers_are_converted_only_meanwhile(booted: FakeGuest) -> None:
    for _ in range(2):
        with pytest.raises(EfiError, match="EFI_UNSUPPORTED"):
            convert_pointer(booted.efi, 0, booted.pointer(booted.efi.trampoline.symbols["gates"]))
        if not booted.efi.has_virtual_addresses:
            set_map(booted, runtime_map(booted))


def test_pointers_to_nowhere_are_not_converted() -> None:
    guest = FakeGuest()
    function, _ = driver(guest)
    answers: list[str] = []

    def notified(*_arguments: int) -> None:
        for pointer, disposition in ((0, 0), (0, 1), (SIZE, 0), (0x100000, 1)):
            try:
                convert_pointer(guest.efi, disposition, guest.pointer(pointer))
                answers.append("EFI_SUCCESS")
            except EfiError as error:
                answers.append(error.status.efi_name)

    guest.functions[function] = notified
    end_boot_services(guest)
    set_map(guest, runtime_map(guest))
    assert answers == ["EFI_INVALID_PARAMETER", "EFI_SUCCESS", "EFI_NOT_FOUND", "EFI_NOT_FOUND"]


@pytest.mark.parametrize("size", [257, 1 << 20])
def test_descriptors_are_not_read_when_they_are_larger_than_any_are(booted: FakeGuest, size: int) -> None:
    with pytest.raises(EfiError, match="EFI_INVALID_PARAMETER"):
        set_map(booted, runtime_map(booted), size=size)
    set_map(booted, runtime_map(booted), size=256)
