# SPDX-License-Identifier: GPL-2.0-or-later
"""Protocol handler services on one handle, as the guest calls them."""

from __future__ import annotations

import pytest

from pvefi.efi.boot.memory import free_pool
from pvefi.efi.boot.protocols import (
    close_protocol,
    handle_protocol,
    install_multiple_protocol_interfaces,
    install_protocol_interface,
    open_protocol,
    open_protocol_information,
    protocols_per_handle,
    register_protocol_notify,
    reinstall_protocol_interface,
    uninstall_multiple_protocol_interfaces,
    uninstall_protocol_interface,
)
from pvefi.efi.errors import EfiError
from pvefi.errors import GuestFault
from pvefi.layout import Guid
from pvefi.spec.uefi import guids
from pvefi.spec.uefi.device_path import END, vendor_media
from pvefi.spec.uefi.events import EventType, Tpl
from pvefi.spec.uefi.handles import OpenProtocolAttributes as Attributes
from pvefi.spec.uefi.handles import OpenProtocolInformationEntry
from pvefi.trace.events import Address

from .guest import FakeGuest, value_of

DISK = Guid.parse("55555555-0000-0000-0000-000000000001")
OTHER = Guid.parse("55555555-0000-0000-0000-000000000002")
NULL, INTERFACE = Address(0), Address(0x7000)


def made(guest: FakeGuest, guid: Guid = DISK, interface: Address = INTERFACE) -> Address:
    handle = guest.pointer()
    install_protocol_interface(guest.efi, handle, guid, 0, interface)
    return Address(value_of(handle))


def test_a_protocol_can_be_installed_asked_for_replaced_and_uninstalled(guest: FakeGuest) -> None:
    handle, interface = made(guest), guest.pointer()
    handle_protocol(guest.efi, handle, DISK, interface)
    assert value_of(interface) == INTERFACE
    reinstall_protocol_interface(guest.efi, handle, DISK, INTERFACE, Address(0x8000))
    handle_protocol(guest.efi, handle, DISK, interface)
    assert value_of(interface) == 0x8000
    uninstall_protocol_interface(guest.efi, handle, DISK, Address(0x8000))
    with pytest.raises(EfiError, match="EFI_INVALID_PARAMETER"):
        handle_protocol(guest.efi, handle, DISK, interface)


def test_a_second_protocol_goes_on_the_handle_that_is_given(guest: FakeGuest) -> None:
    handle = made(guest)
    place = guest.pointer(handle)
    install_protocol_interface(guest.efi, place, OTHER, 0, INTERFACE)
    assert value_of(place) == handle
    assert guest.efi.handles.protocols(handle) == (DISK, OTHER)


def test_an_interface_type_other_than_native_is_refused(guest: FakeGuest) -> None:
    with pytest.raises(EfiError, match="EFI_INVALID_PARAMETER"):
        install_protocol_interface(guest.efi, guest.pointer(), DISK, 1, INTERFACE)


def test_what_a_handle_lacks_is_unsupported_and_null(guest: FakeGuest) -> None:
    handle, interface = made(guest), guest.pointer(1)
    with pytest.raises(EfiError, match=r"EFI_UNSUPPORTED: .*outside the profile linux"):
        handle_protocol(guest.efi, handle, guids.TCG2_PROTOCOL, interface)
    assert value_of(interface) == 0
    with pytest.raises(EfiError, match=r"EFI_UNSUPPORTED: handle .* has no RNG_PROTOCOL"):
        handle_protocol(guest.efi, handle, guids.RNG_PROTOCOL, interface)


def test_opening_gives_the_interface_also_to_a_driver_that_has_it(guest: FakeGuest) -> None:
    handle, agent = made(guest), made(guest, OTHER)
    for complaint in ("", "EFI_ALREADY_STARTED"):
        interface = guest.pointer()
        if complaint:
            with pytest.raises(EfiError, match=complaint):
                open_protocol(guest.efi, handle, DISK, interface, agent, agent, Attributes.BY_DRIVER)
        else:
            open_protocol(guest.efi, handle, DISK, interface, agent, agent, Attributes.BY_DRIVER)
        assert value_of(interface) == INTERFACE


def test_a_refused_opening_leaves_the_interface_alone(guest: FakeGuest) -> None:
    handle, agent, other = made(guest), made(guest, OTHER), made(guest, OTHER)
    open_protocol(guest.efi, handle, DISK, guest.pointer(), agent, agent, Attributes.EXCLUSIVE)
    interface = guest.pointer(9)
    with pytest.raises(EfiError, match="EFI_ACCESS_DENIED"):
        open_protocol(guest.efi, handle, DISK, interface, other, other, Attributes.BY_DRIVER)
    assert value_of(interface) == 9


def test_testing_for_a_protocol_needs_no_place_for_its_interface(guest: FakeGuest) -> None:
    handle = made(guest)
    open_protocol(guest.efi, handle, DISK, None, NULL, NULL, Attributes.TEST_PROTOCOL)
    with pytest.raises(EfiError, match="EFI_UNSUPPORTED"):
        open_protocol(guest.efi, handle, OTHER, None, NULL, NULL, Attributes.TEST_PROTOCOL)
    with pytest.raises(EfiError, match="EFI_INVALID_PARAMETER: Interface is NULL"):
        open_protocol(guest.efi, handle, DISK, None, NULL, NULL, Attributes.GET_PROTOCOL)


def test_who_has_a_protocol_open_is_told_in_pool_memory(guest: FakeGuest) -> None:
    handle, agent = made(guest), made(guest, OTHER)
    buffer, count = guest.pointer(), guest.number()
    open_protocol_information(guest.efi, handle, DISK, buffer, count)
    assert value_of(count) == 0
    free_pool(guest.efi, Address(value_of(buffer)))
    for _ in range(2):
        open_protocol(guest.efi, handle, DISK, guest.pointer(), agent, handle, Attributes.GET_PROTOCOL)
    open_protocol_information(guest.efi, handle, DISK, buffer, count)
    assert value_of(count) == 1
    entry = OpenProtocolInformationEntry.unpack(guest.memory.read(value_of(buffer), 24))
    assert entry == OpenProtocolInformationEntry(agent, handle, Attributes.GET_PROTOCOL, 2)
    close_protocol(guest.efi, handle, DISK, agent, handle)
    with pytest.raises(EfiError, match="EFI_NOT_FOUND"):
        close_protocol(guest.efi, handle, DISK, agent, handle)


def test_the_protocols_of_a_handle_are_pointers_to_guids(guest: FakeGuest) -> None:
    handle = made(guest)
    guest.efi.handles.install(handle, OTHER, 0)
    buffer, count = guest.pointer(), guest.number()
    protocols_per_handle(guest.efi, handle, buffer, count)
    pointers = guest.words(value_of(buffer), value_of(count))
    assert [Guid(guest.memory.read(pointer, 16)) for pointer in pointers] == [DISK, OTHER]
    free_pool(guest.efi, Address(value_of(buffer)))
    with pytest.raises(EfiError, match="EFI_INVALID_PARAMETER"):
        protocols_per_handle(guest.efi, Address(3), buffer, count)


def test_an_installation_signals_those_that_registered(guest: FakeGuest) -> None:
    event = guest.efi.events.create(EventType.NOTIFY_SIGNAL, Tpl.CALLBACK, 0x5000)
    register_protocol_notify(guest.efi, DISK, Address(event), guest.pointer())
    made(guest, OTHER)
    assert not guest.efi.events.next_notification()
    handle = made(guest)
    assert guest.efi.events.next_notification()
    reinstall_protocol_interface(guest.efi, handle, DISK, INTERFACE, INTERFACE)
    assert guest.efi.events.next_notification()
    install_multiple_protocol_interfaces(
        guest.efi, guest.pointer(), guest.arguments(guest.guid(OTHER), 1, guest.guid(DISK), 2, 0)
    )
    assert guest.efi.events.next_notification()


def test_only_an_event_can_be_registered(guest: FakeGuest) -> None:
    with pytest.raises(EfiError, match="EFI_INVALID_PARAMETER"):
        register_protocol_notify(guest.efi, DISK, Address(0x1234), guest.pointer())


def test_several_protocols_are_installed_and_uninstalled_at_once(guest: FakeGuest) -> None:
    place = guest.pointer()
    words = (guest.guid(DISK), 1, guest.guid(OTHER), 2, 0)
    install_multiple_protocol_interfaces(guest.efi, place, guest.arguments(*words))
    handle = Address(value_of(place))
    assert guest.efi.handles.protocols(handle) == (DISK, OTHER)
    uninstall_multiple_protocol_interfaces(guest.efi, handle, guest.arguments(*words))
    assert handle not in guest.efi.handles


def test_when_one_of_several_cannot_be_installed_none_is(guest: FakeGuest) -> None:
    handle = made(guest)
    place = guest.pointer(handle)
    words = (guest.guid(OTHER), 1, guest.guid(DISK), 2, 0)
    with pytest.raises(EfiError, match=r"EFI_INVALID_PARAMETER: .*already"):
        install_multiple_protocol_interfaces(guest.efi, place, guest.arguments(*words))
    assert guest.efi.handles.protocols(handle) == (DISK,)
    with pytest.raises(EfiError, match="EFI_INVALID_PARAMETER"):
        uninstall_multiple_protocol_interfaces(
            guest.efi, handle, guest.arguments(guest.guid(DISK), INTERFACE, guest.guid(OTHER), 1, 0)
        )
    assert guest.efi.handles.protocols(handle) == (DISK,)


def test_one_device_path_is_on_one_handle(guest: FakeGuest) -> None:
    path = guest.put(vendor_media(DISK) + END)
    same = guest.put(vendor_media(DISK) + END)
    guid = guest.guid(guids.DEVICE_PATH_PROTOCOL)
    install_multiple_protocol_interfaces(guest.efi, guest.pointer(), guest.arguments(guid, path, 0))
    with pytest.raises(EfiError, match="EFI_ALREADY_STARTED"):
        install_multiple_protocol_interfaces(guest.efi, guest.pointer(), guest.arguments(guid, same, 0))
    for longer in (vendor_media(OTHER), vendor_media(DISK) + vendor_media(OTHER)):
        other = guest.put(longer + END)
        install_multiple_protocol_interfaces(guest.efi, guest.pointer(), guest.arguments(guid, other, 0))


def test_two_device_paths_on_one_handle_are_refused(guest: FakeGuest) -> None:
    guid, place = guest.guid(guids.DEVICE_PATH_PROTOCOL), guest.pointer()
    paths = [guest.put(vendor_media(one) + END) for one in (DISK, OTHER)]
    with pytest.raises(EfiError, match="EFI_INVALID_PARAMETER"):
        install_multiple_protocol_interfaces(
            guest.efi, place, guest.arguments(guid, paths[0], guid, paths[1], 0)
        )
    assert value_of(place) == 0


def test_an_empty_list_changes_nothing(guest: FakeGuest) -> None:
    place = guest.pointer()
    install_multiple_protocol_interfaces(guest.efi, place, guest.arguments(0))
    assert value_of(place) == 0


def test_a_list_without_end_is_refused(guest: FakeGuest) -> None:
    guid = guest.guid(DISK)
    with pytest.raises(EfiError, match="EFI_INVALID_PARAMETER: no NULL ends the list"):
        install_multiple_protocol_interfaces(guest.efi, guest.pointer(), guest.arguments(*[guid, 1] * 70))


def test_a_wild_guid_in_a_list_installs_nothing(guest: FakeGuest) -> None:
    before = guest.efi.handles.handles()
    with pytest.raises(GuestFault):
        install_multiple_protocol_interfaces(
            guest.efi, guest.pointer(), guest.arguments(guest.guid(DISK), 1, 1 << 62, 2, 0)
        )
    assert guest.efi.handles.handles() == before
