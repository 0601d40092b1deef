# SPDX-License-Identifier: GPL-2.0-or-later
"""Events: what signals them, in which order they notify, and when timers run out."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from pvefi.efi.errors import EfiError
from pvefi.efi.events import Events
from pvefi.layout import Guid
from pvefi.spec.uefi import guids
from pvefi.spec.uefi.events import EventType, TimerDelay, Tpl
from pvefi.spec.uefi.status import EfiStatus

WAIT, SIGNAL, TIMER = EventType.NOTIFY_WAIT, EventType.NOTIFY_SIGNAL, EventType.TIMER
GROUP = Guid.parse("22222222-0000-0000-0000-000000000001")
SECOND = 10_000_000


def refusal(status: EfiStatus, why: str = "") -> pytest.RaisesExc[EfiError]:
    return pytest.raises(EfiError, match=f"EFI_{status.name}: .*{why}")


@dataclass
class Time:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def events(time: Time) -> Events:
    return Events(time)


def dispatched(events: Events) -> list[int]:
    """Return the functions that are notified now, in order."""
    functions = []
    while notification := events.next_notification():
        with events.at(notification.tpl):
            functions.append(notification.function)
    return functions


def is_signalled(events: Events, event: int) -> bool:
    events.prepare_check(event)
    return events.finish_check(event)


def test_an_event_looks_like_a_pointer(events: Events) -> None:
    event = events.create(0)
    assert event
    assert event % 8 == 0


@pytest.mark.parametrize("kind", [1, WAIT | SIGNAL, 0x40000000, 0x202, 0x201 | TIMER, 0x60000200, 1 << 32])
def test_types_that_do_not_exist_are_refused(events: Events, kind: int) -> None:
    with refusal(EfiStatus.INVALID_PARAMETER, "no type"):
        events.create(kind, Tpl.CALLBACK, 1)


@pytest.mark.parametrize("kind", [WAIT, SIGNAL, TIMER | SIGNAL, 0x201, 0x60000202])
def test_an_event_that_notifies_needs_a_function_and_a_level(events: Events, kind: int) -> None:
    with refusal(EfiStatus.INVALID_PARAMETER, "NULL"):
        events.create(kind, Tpl.CALLBACK, 0)
    for tpl in (0, Tpl.APPLICATION, 9, Tpl.HIGH_LEVEL, 1 << 63):
        with refusal(EfiStatus.INVALID_PARAMETER, "TPL"):
            events.create(kind, tpl, 1)
    events.create(kind, Tpl.NOTIFY, 1)


@pytest.mark.parametrize("kind", [0, TIMER])
def test_an_event_that_does_not_notify_ignores_function_and_level(events: Events, kind: int) -> None:
    event = events.create(kind, 77, 1, 2)
    events.signal(event)
    assert dispatched(events) == []


@pytest.mark.parametrize("kind", [0x201, 0x60000202])
def test_an_event_that_is_a_group_cannot_be_in_another(events: Events, kind: int) -> None:
    with refusal(EfiStatus.INVALID_PARAMETER, "group"):
        events.create(kind, Tpl.CALLBACK, 1, 0, GROUP)


def test_a_plain_event_stays_signalled_until_it_is_checked(events: Events) -> None:
    event = events.create(0)
    assert not is_signalled(events, event)
    events.signal(event)
    events.signal(event)
    assert is_signalled(events, event)
    assert not is_signalled(events, event)


def test_notifications_run_by_level_and_then_by_age(events: Events) -> None:
    made = [events.create(SIGNAL, tpl, at) for at, tpl in enumerate((8, 16, 8, 16), start=1)]
    for event in reversed(made):
        events.signal(event)
    assert dispatched(events) == [4, 2, 3, 1]


def test_a_notification_carries_its_event_and_context(events: Events) -> None:
    event = events.create(SIGNAL, Tpl.CALLBACK, 0x1000, 0x2000)
    events.signal(event)
    assert events.next_notification() == (event, 0x1000, 0x2000, Tpl.CALLBACK)


def test_an_event_signalled_twice_notifies_once_and_then_again(events: Events) -> None:
    event = events.create(SIGNAL, Tpl.CALLBACK, 1)
    events.signal(event)
    events.signal(event)
    assert dispatched(events) == [1]
    events.signal(event)
    assert dispatched(events) == [1]


def test_an_event_can_be_signalled_again_by_its_own_notification(events: Events) -> None:
    event = events.create(SIGNAL, Tpl.CALLBACK, 1)
    events.signal(event)
    notification = events.next_notification()
    assert notification is not None
    with events.at(notification.tpl):
        events.signal(event)
        assert events.next_notification() is None
    assert dispatched(events) == [1]


def test_a_raised_level_holds_notifications_back(events: Events) -> None:
    for tpl in (Tpl.CALLBACK, Tpl.NOTIFY):
        events.signal(events.create(SIGNAL, tpl, tpl))
    assert events.raise_tpl(Tpl.CALLBACK) == Tpl.APPLICATION
    assert dispatched(events) == [16]
    events.restore_tpl(Tpl.APPLICATION)
    assert dispatched(events) == [8]


def test_a_notification_of_a_higher_level_interrupts_one_of_a_lower(events: Events) -> None:
    low, high = events.create(SIGNAL, 8, 1), events.create(SIGNAL, 16, 2)
    events.signal(low)
    notification = events.next_notification()
    assert notification is not None
    with events.at(notification.tpl):
        events.signal(high)
        assert dispatched(events) == [2]


def test_the_level_is_what_it_was_after_a_notification_that_left_it_raised(events: Events) -> None:
    with events.at(8):
        events.raise_tpl(31)
    assert events.tpl == Tpl.APPLICATION


@pytest.mark.parametrize("new", [0, 3, 32, 1 << 63])
def test_raising_the_level_downwards_or_too_far_is_refused(events: Events, new: int) -> None:
    with refusal(EfiStatus.INVALID_PARAMETER):
        events.raise_tpl(new)
    assert events.tpl == Tpl.APPLICATION


def test_restoring_to_a_higher_level_is_refused(events: Events) -> None:
    with refusal(EfiStatus.INVALID_PARAMETER):
        events.restore_tpl(8)


def test_a_wait_event_is_asked_through_its_notification(events: Events) -> None:
    event = events.create(WAIT, Tpl.NOTIFY, 7)
    events.prepare_check(event)
    assert dispatched(events) == [7]
    assert not events.finish_check(event)
    events.prepare_check(event)
    assert dispatched(events) == [7]
    events.signal(event)
    assert events.finish_check(event)


def test_a_wait_event_that_is_signalled_needs_no_notification(events: Events) -> None:
    event = events.create(WAIT, Tpl.NOTIFY, 7)
    events.signal(event)
    events.prepare_check(event)
    assert dispatched(events) == []
    assert events.finish_check(event)


def test_an_event_that_notifies_on_signal_cannot_be_waited_for(events: Events) -> None:
    with refusal(EfiStatus.INVALID_PARAMETER):
        events.prepare_check(events.create(SIGNAL, Tpl.NOTIFY, 7))


def test_an_event_of_the_environment_is_signalled_while_it_is_ready(events: Events) -> None:
    keys = [1]
    event = events.create_waitable(lambda: bool(keys))
    assert is_signalled(events, event)
    assert is_signalled(events, event)
    keys.clear()
    assert not is_signalled(events, event)


def test_one_event_of_a_group_signals_all(events: Events) -> None:
    first = events.create(SIGNAL, Tpl.CALLBACK, 1, 0, GROUP)
    events.create(SIGNAL, Tpl.NOTIFY, 2, 0, GROUP)
    plain = events.create(0, group=GROUP)
    events.create(SIGNAL, Tpl.NOTIFY, 3)
    events.signal(first)
    assert dispatched(events) == [2, 1]
    assert is_signalled(events, plain)


@pytest.mark.parametrize(
    ("kind", "group"),
    [
        (0x201, guids.EVENT_GROUP_EXIT_BOOT_SERVICES),
        (0x60000202, guids.EVENT_GROUP_VIRTUAL_ADDRESS_CHANGE),
    ],
)
def test_the_events_of_old_are_groups(events: Events, kind: int, group: Guid) -> None:
    events.create(kind, Tpl.NOTIFY, 1)
    events.create(SIGNAL, Tpl.NOTIFY, 2, 0, group)
    events.signal_group(group)
    assert dispatched(events) == [1, 2]


def test_a_group_without_events_can_be_signalled(events: Events) -> None:
    events.signal_group(GROUP)
    events.close(events.create(SIGNAL, 8, 1, 0, GROUP))
    events.signal_group(GROUP)
    assert dispatched(events) == []


def test_a_closed_event_is_gone_with_its_notification_and_timer(events: Events, time: Time) -> None:
    event = events.create(TIMER | SIGNAL, 8, 1, 0, GROUP)
    events.set_timer(event, TimerDelay.RELATIVE, SECOND)
    events.signal(event)
    events.close(event)
    time.now += 2
    events.expire()
    assert dispatched(events) == []
    assert event not in events
    for use in (events.close, events.signal, events.prepare_check):
        with refusal(EfiStatus.INVALID_PARAMETER, "no longer"):
            use(event)
    assert not events.finish_check(event)


def test_a_timer_runs_out_once(events: Events, time: Time) -> None:
    event = events.create(TIMER)
    events.set_timer(event, TimerDelay.RELATIVE, SECOND // 2)
    assert events.seconds_to_timer() == 0.5
    time.now += 0.4
    events.expire()
    assert not is_signalled(events, event)
    time.now += 0.2
    assert events.seconds_to_timer() == 0
    events.expire()
    assert is_signalled(events, event)
    assert events.seconds_to_timer() is None


def test_a_periodic_timer_keeps_its_beat_and_skips_what_it_missed(events: Events, time: Time) -> None:
    event = events.create(TIMER | SIGNAL, 8, 1)
    events.set_timer(event, TimerDelay.PERIODIC, SECOND)
    time.now += 3.25
    events.expire()
    assert dispatched(events) == [1]
    assert events.seconds_to_timer() == 0.75


def test_a_periodic_timer_of_no_time_runs_at_every_tick(events: Events, time: Time) -> None:
    event = events.create(TIMER)
    events.set_timer(event, TimerDelay.PERIODIC, 0)
    events.expire()
    assert not is_signalled(events, event)
    time.now += 0.01
    events.expire()
    assert is_signalled(events, event)


def test_a_timer_can_be_cancelled_and_set_anew(events: Events, time: Time) -> None:
    event = events.create(TIMER)
    events.set_timer(event, TimerDelay.RELATIVE, SECOND)
    events.set_timer(event, TimerDelay.RELATIVE, 3 * SECOND)
    time.now += 2
    events.expire()
    assert not is_signalled(events, event)
    events.set_timer(event, TimerDelay.CANCEL, 5)
    time.now += 2
    events.expire()
    assert not is_signalled(events, event)
    assert events.seconds_to_timer() is None


def test_the_earliest_of_two_timers_comes_first(events: Events, time: Time) -> None:
    late, early = events.create(TIMER | SIGNAL, 8, 1), events.create(TIMER | SIGNAL, 8, 2)
    events.set_timer(late, TimerDelay.RELATIVE, 2 * SECOND)
    events.set_timer(early, TimerDelay.RELATIVE, SECOND)
    assert events.seconds_to_timer() == 1
    time.now += 1
    events.expire()
    assert dispatched(events) == [2]
    assert events.seconds_to_timer() == 1


@pytest.mark.parametrize("delay", [3, 1 << 31])
def test_a_timer_setting_that_does_not_exist_is_refused(events: Events, delay: int) -> None:
    with refusal(EfiStatus.INVALID_PARAMETER):
        events.set_timer(events.create(TIMER), TimerDelay(delay), 1)


def test_only_a_timer_event_has_a_timer(events: Events) -> None:
    with refusal(EfiStatus.INVALID_PARAMETER, "no timer event"):
        events.set_timer(events.create(0), TimerDelay.RELATIVE, 1)


def test_a_timer_of_the_longest_time_is_no_trouble(events: Events, time: Time) -> None:
    event = events.create(TIMER)
    events.set_timer(event, TimerDelay.PERIODIC, (1 << 64) - 1)
    time.now += 1e9
    events.expire()
    assert not is_signalled(events, event)


def test_a_guest_that_never_stops_creating_runs_out_of_resources(events: Events) -> None:
    with refusal(EfiStatus.OUT_OF_RESOURCES):
        for _ in range(1 << 17):
            events.create(0)


def test_a_notification_that_the_level_holds_back_is_made_later(events: Events, time: Time) -> None:
    event = events.create(TIMER | SIGNAL, 8, 1)
    events.set_timer(event, TimerDelay.RELATIVE, SECOND)
    time.now += 1
    events.expire()
    events.raise_tpl(8)
    assert dispatched(events) == []
    events.restore_tpl(4)
    assert dispatched(events) == [1]
    assert dispatched(events) == []


def test_timers_stop_with_boot_services(events: Events, time: Time) -> None:
    event = events.create(TIMER | SIGNAL, 8, 1)
    events.set_timer(event, TimerDelay.PERIODIC, SECOND)
    events.stop_timers()
    time.now += 5
    events.expire()
    assert dispatched(events) == []
    assert events.seconds_to_timer() is None


def test_the_level_never_falls_below_that_of_applications(events: Events) -> None:
    events.raise_tpl(16)
    events.restore_tpl(0)
    assert events.tpl == Tpl.APPLICATION
