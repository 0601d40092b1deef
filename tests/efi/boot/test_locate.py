# SPDX-License-Identifier: GPL-2.0-or-later
"""Searches of the handle database as the guest calls them."""

from __future__ import annotations

import pytest

from pvefi.efi.boot.locate import (
    locate_device_path,
    locate_handle,
    locate_handle_buffer,
    locate_protocol,
)
from pvefi.efi.boot.memory import free_pool
from pvefi.efi.errors import EfiError
from pvefi.efi.service import Arguments, In
from pvefi.errors import GuestFault
from pvefi.layout import Guid
from pvefi.memory import GuestMemory
from pvefi.spec.uefi import guids
from pvefi.spec.uefi.device_path import END, memory_mapped, vendor_media
from pvefi.spec.uefi.handles import LocateSearchType
from pvefi.trace.events import Address

from .guest import SIZE, FakeGuest, value_of

ALL, NEW, BY = (
    LocateSearchType.ALL_HANDLES,
    LocateSearchType.BY_REGISTER_NOTIFY,
    LocateSearchType.BY_PROTOCOL,
)
DISK = Guid.parse("66666666-0000-0000-0000-000000000001")
PATH = guids.DEVICE_PATH_PROTOCOL
NULL = Address(0)
INITRD = vendor_media(guids.LINUX_INITRD_MEDIA)


@pytest.fixture
def disks(guest: FakeGuest) -> list[int]:
    return [guest.efi.handles.install(0, DISK, 0x7000 + at) for at in range(3)]


def located(guest: FakeGuest, kind: LocateSearchType, key: int = 0, room: int = 64) -> list[int]:
    size, buffer = guest.number(8 * room), guest.put(bytes(8 * room))
    locate_handle(guest.efi, kind, guest.named(DISK), Address(key), size, buffer)
    return guest.words(buffer, value_of(size) // 8)


def test_handles_are_found_by_protocol_and_altogether(guest: FakeGuest, disks: list[int]) -> None:
    assert located(guest, BY) == disks
    assert located(guest, ALL) == list(guest.efi.handles.handles())


def test_a_buffer_that_is_too_small_is_told_the_size(guest: FakeGuest, disks: list[int]) -> None:
    for given, buffer in ((0, NULL), (23, guest.put(bytes(24)))):
        size = guest.number(given)
        with pytest.raises(EfiError, match="EFI_BUFFER_TOO_SMALL"):
            locate_handle(guest.efi, BY, guest.named(DISK), NULL, size, buffer)
        assert value_of(size) == 8 * len(disks)


def test_a_buffer_with_a_size_and_no_address_is_refused(guest: FakeGuest, disks: list[int]) -> None:
    with pytest.raises(EfiError, match="EFI_INVALID_PARAMETER"):
        locate_handle(guest.efi, BY, guest.named(DISK), NULL, guest.number(8 * len(disks)), NULL)


def test_a_wild_buffer_is_the_guests_fault(guest: FakeGuest, disks: list[int]) -> None:
    with pytest.raises(GuestFault):
        locate_handle(guest.efi, BY, guest.named(DISK), NULL, guest.number(1 << 63), Address(1 << 62))
    assert disks


def test_what_no_handle_has_is_not_found_and_the_reason_names_the_profile(guest: FakeGuest) -> None:
    with pytest.raises(EfiError, match="EFI_NOT_FOUND: GRAPHICS_OUTPUT_PROTOCOL is outside the profile"):
        locate_handle(guest.efi, BY, guest.named(guids.GRAPHICS_OUTPUT_PROTOCOL), NULL, guest.number(), NULL)
    count, buffer = guest.number(5), guest.pointer(5)
    with pytest.raises(EfiError, match="EFI_NOT_FOUND"):
        locate_handle_buffer(guest.efi, BY, guest.named(DISK), NULL, count, buffer)
    assert (value_of(count), value_of(buffer)) == (0, 0)
    interface = guest.pointer(5)
    with pytest.raises(EfiError, match="EFI_NOT_FOUND: TCG2_PROTOCOL is outside the profile"):
        locate_protocol(guest.efi, guest.named(guids.TCG2_PROTOCOL), NULL, interface)
    assert value_of(interface) == 0


@pytest.mark.parametrize(("kind", "guid"), [(3, DISK), (BY, None), (NEW, DISK)])
def test_a_search_that_makes_no_sense_is_refused(guest: FakeGuest, kind: int, guid: Guid | None) -> None:
    named = guest.named(guid) if guid else None
    with pytest.raises(EfiError, match="EFI_INVALID_PARAMETER"):
        locate_handle(guest.efi, LocateSearchType(kind), named, NULL, guest.number(), NULL)


def test_a_registration_gives_one_handle_after_the_other(guest: FakeGuest, disks: list[int]) -> None:
    key = guest.efi.handles.register(DISK, 1)
    with pytest.raises(EfiError, match="EFI_BUFFER_TOO_SMALL"):
        located(guest, NEW, key, room=0)
    assert [located(guest, NEW, key) for _ in disks] == [[disk] for disk in disks]
    with pytest.raises(EfiError, match="EFI_NOT_FOUND"):
        located(guest, NEW, key)


@pytest.mark.parametrize("kind", [ALL, NEW])
def test_a_search_that_ignores_the_protocol_does_not_look_at_it(
    guest: FakeGuest, disks: list[int], kind: LocateSearchType
) -> None:
    key = Address(guest.efi.handles.register(DISK, 1))
    wild: In[Guid] = In(guest.memory, Address(1 << 62), Guid.SIZE, None)
    size, buffer = guest.number(0x1000), guest.put(bytes(0x1000))
    locate_handle(guest.efi, kind, wild, key, size, buffer)
    assert guest.words(buffer, 1)[0] in guest.efi.handles
    count = guest.number()
    locate_handle_buffer(guest.efi, kind, wild, key, count, guest.pointer())
    assert value_of(count)
    locate_protocol(guest.efi, wild, key, guest.pointer())
    with pytest.raises(GuestFault):
        locate_handle(guest.efi, BY, wild, key, size, buffer)


def test_the_trace_names_the_protocol_that_was_looked_for(guest: FakeGuest, disks: list[int]) -> None:
    named = guest.guid(DISK)
    for kind, shown in ((BY, DISK), (ALL, named)):
        size = guest.number(0x1000).address
        stack = guest.put(bytes(0x28) + guest.put(bytes(0x1000)).to_bytes(8, "little"))
        values = locate_handle.decode(Arguments(guest.memory, (kind, named, 0, size), stack))
        locate_handle(guest.efi, *values)
        assert dict(locate_handle.traced(values))["Protocol"] == shown


def test_found_handles_may_come_in_pool_memory(guest: FakeGuest, disks: list[int]) -> None:
    count, buffer = guest.number(), guest.pointer()
    locate_handle_buffer(guest.efi, BY, guest.named(DISK), NULL, count, buffer)
    assert guest.words(value_of(buffer), value_of(count)) == disks
    free_pool(guest.efi, Address(value_of(buffer)))


def test_a_protocol_is_the_first_or_the_next_new_one(guest: FakeGuest, disks: list[int]) -> None:
    interface = guest.pointer()
    locate_protocol(guest.efi, guest.named(DISK), NULL, interface)
    assert value_of(interface) == 0x7000
    key = Address(guest.efi.handles.register(DISK, 1))
    for at in range(len(disks)):
        locate_protocol(guest.efi, guest.named(DISK), key, interface)
        assert value_of(interface) == 0x7000 + at
    with pytest.raises(EfiError, match="EFI_NOT_FOUND"):
        locate_protocol(guest.efi, guest.named(DISK), key, interface)
    with pytest.raises(EfiError, match="EFI_INVALID_PARAMETER"):
        locate_protocol(guest.efi, guest.named(DISK), Address(5), interface)


class CountingMemory:
    """Guest memory that counts what is read of it."""

    def __init__(self, memory: GuestMemory) -> None:
        self.memory, self.reads, self.bytes_read = memory, 0, 0
        self.write, self.contiguous = memory.write, memory.contiguous
        self.storable, self.take_in = memory.storable, memory.take_in

    def read(self, address: int, size: int) -> bytes:
        self.reads += 1
        self.bytes_read += size
        return self.memory.read(address, size)


def with_path(guest: FakeGuest, path: bytes, guid: Guid = DISK) -> int:
    handle = guest.efi.handles.install(0, PATH, guest.put(path))
    return guest.efi.handles.install(handle, guid, 0x7000)


def test_the_longest_path_is_found_and_the_rest_is_left(guest: FakeGuest) -> None:
    disk = memory_mapped(1, 0, 0xFFF)
    with_path(guest, END)
    handle = with_path(guest, disk + END)
    with_path(guest, disk + INITRD + INITRD + END)
    with_path(guest, INITRD + END)
    with_path(guest, disk + INITRD + END, guids.LOAD_FILE2_PROTOCOL)
    wanted = guest.put(disk + INITRD + END)
    path, device = guest.pointer(wanted), guest.pointer()
    locate_device_path(guest.efi, DISK, path, device)
    assert (value_of(device), value_of(path)) == (handle, wanted + len(disk))


def test_the_initrd_that_a_guest_installs_itself_is_found(guest: FakeGuest) -> None:
    handle = with_path(guest, INITRD + END, guids.LOAD_FILE2_PROTOCOL)
    wanted = guest.put(INITRD + END)
    path, device = guest.pointer(wanted), guest.pointer()
    locate_device_path(guest.efi, guids.LOAD_FILE2_PROTOCOL, path, device)
    assert (value_of(device), value_of(path)) == (handle, wanted + len(INITRD))


def test_a_path_on_which_nothing_lies_is_not_found_and_stays(guest: FakeGuest) -> None:
    wanted = guest.put(INITRD + END)
    path = guest.pointer(wanted)
    with pytest.raises(EfiError, match="EFI_NOT_FOUND: no handle has LOAD_FILE2_PROTOCOL"):
        locate_device_path(guest.efi, guids.LOAD_FILE2_PROTOCOL, path, guest.pointer())
    with_path(guest, memory_mapped(1, 0, 1) + END)
    with pytest.raises(EfiError, match=r"EFI_NOT_FOUND: .*VenMedia"):
        locate_device_path(guest.efi, DISK, path, guest.pointer())
    assert value_of(path) == wanted


def test_handles_whose_device_path_is_nonsense_are_passed_over(guest: FakeGuest) -> None:
    for interface in (0, 1 << 62, guest.put(bytes(64))):
        handle = guest.efi.handles.install(0, PATH, interface)
        guest.efi.handles.install(handle, DISK, 1)
    good = with_path(guest, INITRD + END)
    device = guest.pointer()
    locate_device_path(guest.efi, DISK, guest.pointer(guest.put(INITRD + END)), device)
    assert value_of(device) == good


def test_what_a_guest_wrote_over_a_path_since_counts(guest: FakeGuest) -> None:
    handle = with_path(guest, vendor_media(DISK) + END)
    wanted, device = guest.put(INITRD + END), guest.pointer()
    with pytest.raises(EfiError, match="EFI_NOT_FOUND"):
        locate_device_path(guest.efi, DISK, guest.pointer(wanted), device)
    guest.memory.write(guest.efi.handles.interface(handle, PATH) or 0, INITRD + END)
    locate_device_path(guest.efi, DISK, guest.pointer(wanted), device)
    assert value_of(device) == handle


def test_a_path_that_ends_with_memory_is_found(guest: FakeGuest) -> None:
    interface = SIZE - len(INITRD + END)
    guest.memory.write(interface, INITRD + END)
    guest.efi.handles.install(0, PATH, interface)
    wanted = guest.put(INITRD + INITRD + INITRD + END)
    path = guest.pointer(wanted)
    locate_device_path(guest.efi, PATH, path, guest.pointer())
    assert value_of(path) == wanted + len(INITRD)


def test_no_search_reads_much_of_a_path_or_any_of_its_nodes(guest: FakeGuest) -> None:
    handles = 1000
    path = memory_mapped(1, 0, 0xFFF) * 100
    for _ in range(handles):
        guest.efi.handles.install(0, PATH, guest.put(path + INITRD + END))
    counting = CountingMemory(guest.memory)
    guest.efi.memory = counting
    with pytest.raises(EfiError, match="EFI_NOT_FOUND"):
        locate_device_path(guest.efi, PATH, guest.pointer(guest.put(path + END)), guest.pointer())
    assert counting.reads < 2 * handles
    assert counting.bytes_read < 2 * handles * len(path)


def test_a_device_path_that_is_none_is_refused(guest: FakeGuest) -> None:
    with_path(guest, INITRD + END)
    for address in (NULL, guest.put(bytes(64)), guest.put(b"\x04\x03\x04\x00" * 20000)):
        with pytest.raises(EfiError, match="EFI_INVALID_PARAMETER"):
            locate_device_path(guest.efi, DISK, guest.pointer(address), guest.pointer())
    with pytest.raises(GuestFault):
        locate_device_path(guest.efi, DISK, guest.pointer(1 << 62), guest.pointer())


def test_a_match_wants_a_place_for_the_device(guest: FakeGuest) -> None:
    with_path(guest, INITRD + END)
    with pytest.raises(EfiError, match="EFI_INVALID_PARAMETER: Device is NULL"):
        locate_device_path(guest.efi, DISK, guest.pointer(guest.put(INITRD + END)), None)
