# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory allocation services as the guest calls them."""

from __future__ import annotations

import pytest

from pvefi.efi.boot.memory import (
    allocate_pages,
    allocate_pool,
    allocate_result,
    free_pages,
    free_pool,
    get_memory_map,
)
from pvefi.efi.errors import EfiError
from pvefi.efi.service import InOut
from pvefi.errors import GuestFault
from pvefi.spec.uefi import guids
from pvefi.spec.uefi.events import EventType, Tpl
from pvefi.spec.uefi.memory import AllocateType, MemoryDescriptor, MemoryType
from pvefi.spec.uefi.status import EfiStatus
from pvefi.trace.events import Address

from .guest import FakeGuest, value_of

ANY, MAX, AT = AllocateType.ANY_PAGES, AllocateType.MAX_ADDRESS, AllocateType.ADDRESS
DATA = MemoryType.LOADER_DATA


def test_pages_come_where_they_are_asked_for_and_go_again(guest: FakeGuest) -> None:
    place = guest.pointer(0x1800000)
    before = guest.efi.pages.descriptors()
    allocate_pages(guest.efi, AT, DATA, 3, place)
    assert value_of(place) == 0x1800000
    free_pages(guest.efi, Address(0x1800000), 3)
    assert guest.efi.pages.descriptors() == before


def test_what_the_pointer_holds_limits_the_address(guest: FakeGuest) -> None:
    place = guest.pointer(0xFFFFFF)
    allocate_pages(guest.efi, MAX, DATA, 1, place)
    assert value_of(place) == 0xFFF000


def test_a_refused_allocation_leaves_the_pointer_alone(guest: FakeGuest) -> None:
    place = guest.pointer(0x1234)
    with pytest.raises(EfiError, match="EFI_OUT_OF_RESOURCES"):
        allocate_pages(guest.efi, ANY, DATA, 1 << 40, place)
    assert value_of(place) == 0x1234


def test_an_allocation_through_a_wild_pointer_takes_nothing(guest: FakeGuest) -> None:
    key = guest.efi.pages.key
    with pytest.raises(GuestFault):
        allocate_pages(guest.efi, ANY, DATA, 1, InOut(guest.memory, Address(1 << 63), 8, Address))
    assert guest.efi.pages.key == key


def test_the_gates_cannot_be_freed(guest: FakeGuest) -> None:
    with pytest.raises(EfiError, match=r"EFI_NOT_FOUND: .*\.gates"):
        free_pages(guest.efi, Address(guest.efi.trampoline.segment(".gates").address), 1)


def test_the_memory_map_is_stored_with_its_key_and_stride(guest: FakeGuest) -> None:
    packed = guest.efi.pages.packed()
    size, buffer = guest.number(0x2000), guest.put(bytes(0x2000))
    key, stride, version = guest.number(), guest.number(), guest.number(size=4)
    get_memory_map(guest.efi, size, buffer, key, stride, version)
    assert (value_of(size), value_of(stride), value_of(version)) == (len(packed), 48, 1)
    assert value_of(key) == guest.efi.pages.key
    assert guest.memory.read(buffer, len(packed) + 1) == packed + b"\0"
    first = MemoryDescriptor.unpack(packed)
    assert (first.type, first.physical_start, first.number_of_pages) == (MemoryType.RESERVED, 0, 1)


@pytest.mark.parametrize("given", [0, 47, -1])
def test_a_buffer_that_is_too_small_is_told_the_size_and_the_stride(guest: FakeGuest, given: int) -> None:
    needed = len(guest.efi.pages.packed())
    size, stride = guest.number(given if given >= 0 else needed - 1), guest.number()
    with pytest.raises(EfiError, match="EFI_BUFFER_TOO_SMALL"):
        get_memory_map(guest.efi, size, Address(0), None, stride, None)
    assert (value_of(size), value_of(stride)) == (needed, 48)


def test_a_map_that_would_fit_wants_a_buffer(guest: FakeGuest) -> None:
    with pytest.raises(EfiError, match="EFI_INVALID_PARAMETER"):
        get_memory_map(guest.efi, guest.number((1 << 64) - 1), Address(0), None, None, None)


def test_a_wild_map_buffer_is_the_guests_fault(guest: FakeGuest) -> None:
    with pytest.raises(GuestFault):
        get_memory_map(guest.efi, guest.number(1 << 63), Address(1 << 62), None, None, None)


def test_pool_memory_comes_and_goes(guest: FakeGuest) -> None:
    buffer = guest.pointer()
    allocate_pool(guest.efi, DATA, 100, buffer)
    address = Address(value_of(buffer))
    span = guest.efi.pages.span_at(address)
    assert span is not None
    assert span.type == DATA
    free_pool(guest.efi, address)
    with pytest.raises(EfiError, match="EFI_INVALID_PARAMETER"):
        free_pool(guest.efi, address)


@pytest.mark.parametrize("size", [1 << 30, 1 << 63, (1 << 64) - 1])
def test_pool_memory_that_is_not_there_is_refused(guest: FakeGuest, size: int) -> None:
    with pytest.raises(EfiError, match=EfiStatus.OUT_OF_RESOURCES.efi_name):
        allocate_pool(guest.efi, DATA, size, guest.pointer())


def test_a_change_of_the_map_signals_its_group_and_no_change_does_not(guest: FakeGuest) -> None:
    group = guids.EVENT_GROUP_MEMORY_MAP_CHANGE
    guest.efi.events.create(EventType.NOTIFY_SIGNAL, Tpl.CALLBACK, 1, 0, group)
    first, second = guest.pointer(), guest.pointer()
    allocate_pool(guest.efi, DATA, 16, first)
    assert guest.efi.events.next_notification()
    allocate_pool(guest.efi, DATA, 16, second)
    assert not guest.efi.events.next_notification()
    with pytest.raises(EfiError):
        free_pages(guest.efi, Address(0x1000000), 1)
    assert not guest.efi.events.next_notification()


def test_a_result_is_pool_memory_that_the_caller_frees(guest: FakeGuest) -> None:
    address = allocate_result(guest.efi, b"abc")
    assert guest.memory.read(address, 3) == b"abc"
    free_pool(guest.efi, address)
