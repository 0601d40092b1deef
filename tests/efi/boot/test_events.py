# SPDX-License-Identifier: GPL-2.0-or-later
"""Event, timer and task priority services as the guest calls them."""

from __future__ import annotations

import pytest

from pvefi.efi.boot.events import (
    check_event,
    close_event,
    create_event,
    create_event_ex,
    raise_tpl,
    restore_tpl,
    set_timer,
    signal_event,
    wait_for_event,
)
from pvefi.efi.boot.protocols import register_protocol_notify
from pvefi.efi.errors import EfiError
from pvefi.efi.service import EndRun
from pvefi.errors import GuestFault
from pvefi.layout import Guid
from pvefi.spec.uefi import guids
from pvefi.spec.uefi.events import EventType, TimerDelay, Tpl
from pvefi.spec.uefi.keys import InputKey, ScanCode
from pvefi.spec.uefi.protocols import SimpleTextInputProtocol
from pvefi.trace.events import Address
from pvefi.verdict import Outcome

from .guest import FakeGuest, value_of

WAIT, SIGNAL, TIMER = EventType.NOTIFY_WAIT, EventType.NOTIFY_SIGNAL, EventType.TIMER
FUNCTION, CONTEXT = Address(0x5000), Address(0x6000)
GROUP = Guid.parse("33333333-0000-0000-0000-000000000001")
NULL = Address(0)
MILLISECOND = 10_000


def made(guest: FakeGuest, kind: int, function: Address = FUNCTION) -> Address:
    event = guest.pointer()
    create_event(guest.efi, kind, Tpl.CALLBACK, function, CONTEXT, event)
    return Address(value_of(event))


def waited(guest: FakeGuest, *events: int) -> tuple[int, EndRun | None]:
    """Return the index that WaitForEvent stored, and how the run ended if it did."""
    array = guest.put(b"".join(event.to_bytes(8, "little") for event in events))
    index = guest.number(99)
    end = guest.run(wait_for_event(guest.efi, len(events), array, index))
    return value_of(index), end


def test_an_event_can_be_made_signalled_checked_and_closed(guest: FakeGuest) -> None:
    event = made(guest, 0)
    with pytest.raises(EfiError, match="EFI_NOT_READY"):
        guest.run(check_event(guest.efi, event))
    signal_event(guest.efi, event)
    guest.run(check_event(guest.efi, event))
    close_event(guest.efi, event)
    with pytest.raises(EfiError, match="EFI_INVALID_PARAMETER"):
        signal_event(guest.efi, event)
    with pytest.raises(EfiError, match="EFI_INVALID_PARAMETER"):
        close_event(guest.efi, event)


def test_a_refused_event_is_not_stored(guest: FakeGuest) -> None:
    event = guest.pointer(7)
    with pytest.raises(EfiError, match="EFI_INVALID_PARAMETER"):
        create_event(guest.efi, SIGNAL, Tpl.APPLICATION, FUNCTION, CONTEXT, event)
    assert value_of(event) == 7


def test_events_of_a_group_are_signalled_together(guest: FakeGuest) -> None:
    events = []
    for _ in range(2):
        event = guest.pointer()
        create_event_ex(guest.efi, 0, 0, NULL, NULL, GROUP, event)
        events.append(Address(value_of(event)))
    signal_event(guest.efi, events[0])
    guest.run(check_event(guest.efi, events[1]))


def test_a_closed_event_is_registered_no_more(guest: FakeGuest) -> None:
    event = made(guest, SIGNAL)
    register_protocol_notify(guest.efi, GROUP, event, guest.pointer())
    assert guest.efi.handles.registered_events(GROUP) == (event,)
    close_event(guest.efi, event)
    assert guest.efi.handles.registered_events(GROUP) == ()


def test_checking_asks_the_guests_function(guest: FakeGuest) -> None:
    event = made(guest, WAIT)
    with pytest.raises(EfiError, match="EFI_NOT_READY"):
        guest.run(check_event(guest.efi, event))
    assert guest.calls == [(FUNCTION, (event, CONTEXT))]
    guest.functions[FUNCTION] = lambda event, _context: signal_event(guest.efi, event)
    guest.run(check_event(guest.efi, event))


def test_checking_an_event_whose_function_closes_it_is_not_ready(guest: FakeGuest) -> None:
    event = made(guest, WAIT)
    guest.functions[FUNCTION] = lambda event, _context: close_event(guest.efi, event)
    with pytest.raises(EfiError, match="EFI_NOT_READY"):
        guest.run(check_event(guest.efi, event))


def test_waiting_ends_with_the_first_signalled_event(guest: FakeGuest) -> None:
    events = [made(guest, 0) for _ in range(3)]
    signal_event(guest.efi, events[2])
    signal_event(guest.efi, events[1])
    assert waited(guest, *events) == (1, None)
    assert waited(guest, *events) == (2, None)


def test_waiting_lets_a_timer_run_out(guest: FakeGuest) -> None:
    event = made(guest, TIMER)
    set_timer(guest.efi, event, TimerDelay.RELATIVE, 2500 * MILLISECOND)
    before = guest.time.now
    assert waited(guest, made(guest, 0), event) == (1, None)
    assert guest.time.now - before == pytest.approx(2.5, abs=0.01)


def test_waiting_asks_the_guests_function_until_it_signals(guest: FakeGuest) -> None:
    def poll(event: int, _context: int) -> None:
        if len(guest.calls) == 5:
            signal_event(guest.efi, Address(event))

    guest.functions[FUNCTION] = poll
    assert waited(guest, made(guest, WAIT)) == (0, None)
    assert len(guest.calls) == 5


def test_waiting_lets_notifications_run_meanwhile(guest: FakeGuest) -> None:
    plain, timer = made(guest, 0), made(guest, TIMER | SIGNAL)
    guest.functions[FUNCTION] = lambda *_: signal_event(guest.efi, plain)
    set_timer(guest.efi, timer, TimerDelay.RELATIVE, 30 * MILLISECOND)
    assert waited(guest, plain) == (0, None)


def wait_for_key(guest: FakeGuest) -> int:
    """Return the event that a key signals."""
    (console,) = guest.efi.handles.handles_with(guids.SIMPLE_TEXT_INPUT_PROTOCOL)
    interface = guest.efi.handles.interface(console, guids.SIMPLE_TEXT_INPUT_PROTOCOL)
    assert interface is not None
    return SimpleTextInputProtocol.unpack(guest.memory.read(interface, 24)).wait_for_key


def test_waiting_for_a_key_lasts_until_somebody_types(guest: FakeGuest) -> None:
    guest.typing = [b""] * 9 + [b"k"]
    before = guest.time.now
    assert waited(guest, made(guest, 0), wait_for_key(guest)) == (1, None)
    assert guest.time.now > before
    assert guest.efi.keys.read() == InputKey(ScanCode.NULL, ord("k"))


@pytest.mark.parametrize("looks", [0, 5])
def test_waiting_for_a_key_that_nobody_types_ends_the_run_and_says_so(guest: FakeGuest, looks: int) -> None:
    guest.typing = [b""] * looks
    _, end = waited(guest, made(guest, 0), wait_for_key(guest))
    assert not guest.typing
    assert end is not None
    assert end.verdict.outcome is Outcome.BLOCKED
    assert "EFI_SIMPLE_TEXT_INPUT_PROTOCOL.WaitForKey, which nothing will ever signal" in end.verdict.message


def test_waiting_ends_when_the_run_is_being_ended(guest: FakeGuest) -> None:
    timer = made(guest, TIMER)
    set_timer(guest.efi, timer, TimerDelay.RELATIVE, 1 << 60)
    guest.time.ending = True
    for event in (timer, made(guest, WAIT)):
        with pytest.raises(EfiError, match="being ended"):
            waited(guest, event)


@pytest.mark.parametrize("bad", [0, 0x1234, "signal"])
def test_an_event_that_cannot_be_waited_for_is_pointed_at(guest: FakeGuest, bad: int | str) -> None:
    event = made(guest, SIGNAL) if isinstance(bad, str) else bad
    array = guest.put(made(guest, 0).to_bytes(8, "little") + event.to_bytes(8, "little"))
    index = guest.number(99)
    with pytest.raises(EfiError, match="EFI_INVALID_PARAMETER"):
        guest.run(wait_for_event(guest.efi, 2, array, index))
    assert value_of(index) == 1


@pytest.mark.parametrize("count", [0, 1 << 17, 1 << 63])
def test_no_events_and_more_than_there_can_be_are_refused(guest: FakeGuest, count: int) -> None:
    with pytest.raises(EfiError, match="EFI_INVALID_PARAMETER"):
        guest.run(wait_for_event(guest.efi, count, guest.put(bytes(8)), guest.number()))


def test_a_wild_array_of_events_is_the_guests_fault(guest: FakeGuest) -> None:
    with pytest.raises(GuestFault):
        guest.run(wait_for_event(guest.efi, 2, Address(1 << 62), guest.number()))


def test_waiting_above_the_level_of_applications_is_unsupported(guest: FakeGuest) -> None:
    event = made(guest, 0)
    signal_event(guest.efi, event)
    assert raise_tpl(guest.efi, Tpl.CALLBACK) == Tpl.APPLICATION
    with pytest.raises(EfiError, match="EFI_UNSUPPORTED"):
        waited(guest, event)
    restore_tpl(guest.efi, Tpl.APPLICATION)
    assert waited(guest, event) == (0, None)


def test_raising_the_level_downwards_is_refused(guest: FakeGuest) -> None:
    raise_tpl(guest.efi, Tpl.NOTIFY)
    with pytest.raises(EfiError, match="RaiseTPL from 16 to 8"):
        raise_tpl(guest.efi, Tpl.CALLBACK)


def test_a_timer_setting_that_does_not_exist_is_refused(guest: FakeGuest) -> None:
    with pytest.raises(EfiError, match="EFI_INVALID_PARAMETER"):
        set_timer(guest.efi, made(guest, TIMER), TimerDelay(7), 1)
