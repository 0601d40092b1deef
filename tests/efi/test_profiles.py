# SPDX-License-Identifier: GPL-2.0-or-later
"""What lies outside a profile answers as the profile says, and so do searches for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from pvefi.efi.boot.locate import locate_device_path, locate_handle, locate_handle_buffer, locate_protocol
from pvefi.efi.boot.protocols import handle_protocol, open_protocol
from pvefi.efi.errors import EfiError
from pvefi.efi.permission import permit
from pvefi.efi.profiles import PROFILES, Profile
from pvefi.layout import Guid
from pvefi.spec.uefi import device_path, guids
from pvefi.spec.uefi.handles import LocateSearchType, OpenProtocolAttributes
from pvefi.spec.uefi.status import EfiStatus
from pvefi.trace.events import Address
from tests.efi.boot.guest import FakeGuest
from tests.efi.test_tables import system_table

LINUX = PROFILES["linux"]
IN, OUT = guids.SIMPLE_TEXT_INPUT_PROTOCOL, guids.SIMPLE_TEXT_OUTPUT_PROTOCOL
STRANGE = Guid.parse("210be57c-9849-4fc7-a635-e6382d1aec27")
REFUSALS = [EfiStatus.UNSUPPORTED, EfiStatus.NOT_FOUND, EfiStatus.ACCESS_DENIED]


def without(*protocols: Guid, refusal: EfiStatus | None = None) -> Profile:
    refusals = () if refusal is None else tuple((guid, refusal) for guid in protocols)
    return replace(LINUX, protocols=LINUX.protocols - {*protocols}, protocol_refusals=refusals)


def console(guest: FakeGuest) -> tuple[int, ...]:
    """Return handle and interface of the input, and of the output, as the guest finds them."""
    return tuple(system_table(guest)[2:6])


def searches(guest: FakeGuest, guid: Guid) -> list[EfiStatus]:
    """Return what each service answers that searches a protocol, and then those that ask a handle for it."""
    efi, by, null = guest.efi, LocateSearchType.BY_PROTOCOL, Address(0)
    path = guest.put(device_path.vendor_media(STRANGE) + device_path.END)
    handle = Address(efi.handles.install(0, STRANGE, 0))
    test = OpenProtocolAttributes.TEST_PROTOCOL
    asked: tuple[Callable[[], None], ...] = (
        lambda: locate_protocol.body(efi, guest.named(guid), null, guest.pointer()),
        lambda: locate_handle.body(efi, by, guest.named(guid), null, guest.number(), null),
        lambda: locate_handle_buffer.body(efi, by, guest.named(guid), null, guest.number(), guest.pointer()),
        lambda: locate_device_path.body(efi, guid, guest.pointer(path), guest.pointer()),
        lambda: handle_protocol.body(efi, handle, guid, guest.pointer()),
        lambda: open_protocol.body(efi, handle, guid, None, null, null, test),
    )
    found = []
    for ask in asked:
        with pytest.raises(EfiError) as error:
            ask()
        found.append(error.value.status)
    return found


@pytest.mark.parametrize("guid", sorted(LINUX.protocols), ids=guids.guid_name)
def test_a_protocol_outside_is_on_no_handle(guid: Guid) -> None:
    guest = FakeGuest(without(guid))
    assert not guest.efi.handles.handles_with(guid)
    assert searches(guest, guid) == [EfiStatus.NOT_FOUND] * 4 + [EfiStatus.UNSUPPORTED] * 2


@pytest.mark.parametrize("status", REFUSALS, ids=lambda status: status.name)
def test_a_protocol_with_a_refusal_answers_with_that_whoever_is_asked(status: EfiStatus) -> None:
    assert (
        searches(FakeGuest(without(guids.RNG_PROTOCOL, refusal=status)), guids.RNG_PROTOCOL) == [status] * 6
    )


def test_what_a_guest_installs_itself_is_found_in_any_profile() -> None:
    guest = FakeGuest(without(guids.RNG_PROTOCOL, refusal=EfiStatus.UNSUPPORTED))
    guest.efi.handles.install(0, guids.RNG_PROTOCOL, 0x1234)
    found = guest.pointer()
    locate_protocol.body(guest.efi, guest.named(guids.RNG_PROTOCOL), Address(0), found)
    assert found.get() == 0x1234


@pytest.mark.parametrize("status", REFUSALS, ids=lambda status: status.name)
def test_a_service_outside_answers_with_its_refusal(status: EfiStatus) -> None:
    refusing = replace(
        LINUX, services=LINUX.services - {"GetTime", "SetTime"}, service_refusals=(("GetTime", status),)
    )
    guest = FakeGuest(refusing)
    for service, expected in (("GetTime", status), ("SetTime", EfiStatus.UNSUPPORTED)):
        with pytest.raises(EfiError) as error:
            permit(guest.efi, service)
        assert (error.value.status, error.value.why) == (expected, "outside the profile linux")
    permit(guest.efi, "GetVariable")


@pytest.mark.parametrize(("guid", "at"), [(IN, 1), (OUT, 3)], ids=["input", "output"])
def test_a_console_outside_is_not_in_the_system_table_unless_it_refuses(guid: Guid, at: int) -> None:
    assert not console(FakeGuest(without(guid)))[at]
    guest = FakeGuest(without(guid, refusal=EfiStatus.UNSUPPORTED))
    assert console(guest)[at]
    assert not guest.efi.handles.handles_with(guid)


@pytest.mark.parametrize("status", REFUSALS, ids=lambda status: status.name)
def test_the_functions_of_a_console_that_refuses_answer_with_that(status: EfiStatus) -> None:
    guest = FakeGuest(without(OUT, refusal=status))
    with pytest.raises(EfiError) as error:
        permit(guest.efi, "EFI_SIMPLE_TEXT_OUTPUT_PROTOCOL.OutputString")
    assert error.value.status == status
    permit(guest.efi, "EFI_SIMPLE_TEXT_INPUT_PROTOCOL.Reset")
    permit(guest.efi, "EFI_RNG_PROTOCOL.GetRNG")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"services": frozenset({"GetTimes"})}, "no service GetTimes"),
        ({"protocols": frozenset({STRANGE})}, f"protocol {STRANGE}"),
        ({"service_refusals": (("GetTime", EfiStatus.NOT_FOUND),)}, "GetTime is offered"),
        ({"services": frozenset(), "service_refusals": (("GetTime", EfiStatus(5)),)}, "no error"),
        ({"service_refusals": (("Nothing", EfiStatus.NOT_FOUND),)}, "no service Nothing"),
        ({"protocol_refusals": ((STRANGE, EfiStatus(1 << 63 | 99)),)}, "no error"),
        ({"protocol_refusals": ((STRANGE, EfiStatus.NOT_FOUND),) * 2}, "each of something else"),
    ],
)
def test_what_no_profile_can_be_is_refused(fields: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Profile(**{"name": "x", "purpose": "", "services": LINUX.services, "protocols": LINUX.protocols,
                   "stays": True, **fields})  # type: ignore[arg-type]  # fmt: skip
