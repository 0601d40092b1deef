# SPDX-License-Identifier: GPL-2.0-or-later
"""Events, timers and the task priority level — UEFI 2.10 §7.1.

Nothing here calls the guest: signalling an event queues its notification, and whoever serves the guest takes
the notifications that the current level lets through, in order, and makes the upcalls:

    while notification := events.next_notification():
        with events.at(notification.tpl):
            ... call notification.function(notification.event, notification.context) ...
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from pvefi.efi.errors import EfiError
from pvefi.layout import Guid
from pvefi.spec.uefi import guids
from pvefi.spec.uefi.events import (
    EVT_SIGNAL_EXIT_BOOT_SERVICES,
    EVT_SIGNAL_VIRTUAL_ADDRESS_CHANGE,
    TIMER_UNITS_PER_SECOND,
    EventType,
    TimerDelay,
    Tpl,
)
from pvefi.spec.uefi.status import EfiStatus

__all__ = ["FIRST_EVENT", "Events", "Notification"]

FIRST_EVENT = 0xEF1_4000_0000
"""Events are opaque, as handles are: they lie where no guest has memory."""

_TICK = 0.01  # seconds: the period of a periodic timer that asks for 0, "every timer tick"
_LIMIT = 1 << 16  # events; a runaway guest must not fill the host

# UEFI 2.10 §7.1.1: the combinations that make a type; EDK2 knows the same eight.
_LEGAL_TYPES = frozenset(
    {
        0,
        EventType.TIMER,
        EventType.NOTIFY_WAIT,
        EventType.NOTIFY_SIGNAL,
        EventType.TIMER | EventType.NOTIFY_WAIT,
        EventType.TIMER | EventType.NOTIFY_SIGNAL,
        EVT_SIGNAL_EXIT_BOOT_SERVICES,
        EVT_SIGNAL_VIRTUAL_ADDRESS_CHANGE,
    }
)


class Notification(NamedTuple):
    """A notification function to call: `function(event, context)` in the guest, at level `tpl`."""

    event: int
    function: int
    context: int
    tpl: int


@dataclass(slots=True, eq=False)
class _Event:
    kind: int
    notification: Notification
    group: Guid | None
    ready: Callable[[], bool] | None
    signalled: bool = False
    queued: bool = False
    due: float | None = None
    period: float = 0.0

    @property
    def notifies(self) -> bool:
        return bool(self.kind & EventType.NOTIFY_SIGNAL)


class Events:
    """All events of one boot; `clock` is monotonic time in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.tpl: int = Tpl.APPLICATION
        self._clock = clock
        self._events: dict[int, _Event] = {}
        self._groups: dict[Guid, list[int]] = {}
        self._queues: dict[int, deque[int]] = {}
        self._next = FIRST_EVENT
        self._due: float | None = None

    def __contains__(self, event: int) -> bool:
        return event in self._events

    def create(
        self,
        kind: int,
        notify_tpl: int = 0,
        function: int = 0,
        context: int = 0,
        group: Guid | None = None,
    ) -> int:
        """Return a new event of type `kind` — UEFI 2.10 §7.1.1, §7.1.2.

        EfiError: INVALID_PARAMETER (type, function or level), OUT_OF_RESOURCES.
        """
        if kind not in _LEGAL_TYPES:
            raise EfiError(EfiStatus.INVALID_PARAMETER, f"{kind:#x} is no type of event")
        if kind in (EVT_SIGNAL_EXIT_BOOT_SERVICES, EVT_SIGNAL_VIRTUAL_ADDRESS_CHANGE):
            # Each of the two types is a group of its own: no other may be asked for, as EDK2 has it.
            if group is not None:
                raise EfiError(EfiStatus.INVALID_PARAMETER, f"type {kind:#x} cannot be in a group")
            is_exit = kind == EVT_SIGNAL_EXIT_BOOT_SERVICES
            group = (
                guids.EVENT_GROUP_EXIT_BOOT_SERVICES if is_exit else guids.EVENT_GROUP_VIRTUAL_ADDRESS_CHANGE
            )
        if kind & (EventType.NOTIFY_SIGNAL | EventType.NOTIFY_WAIT):
            if not function:
                raise EfiError(EfiStatus.INVALID_PARAMETER, "the notification function is NULL")
            # EFI_INVALID_PARAMETER when "NotifyTpl is not a supported TPL level": above TPL_APPLICATION,
            # where no notification ever runs, and below TPL_HIGH_LEVEL.
            if notify_tpl not in (Tpl.CALLBACK, Tpl.NOTIFY):
                raise EfiError(EfiStatus.INVALID_PARAMETER, f"nothing notifies at TPL {notify_tpl}")
        else:
            notify_tpl = function = context = 0
        return self._add(kind, notify_tpl, function, context, group, None)

    def create_waitable(self, ready: Callable[[], bool]) -> int:
        """Return an event of the environment's own that is signalled while `ready()` says so."""
        return self._add(0, 0, 0, 0, None, ready)

    def close(self, event: int) -> None:
        """Forget `event`, its timer and its pending notification; EfiError INVALID_PARAMETER."""
        found = self._find(event)
        if found.queued:
            self._queues[found.notification.tpl].remove(event)
        if found.group is not None:
            self._groups[found.group].remove(event)
            if not self._groups[found.group]:
                del self._groups[found.group]
        del self._events[event]

    def signal(self, event: int) -> None:
        """Signal `event`, and with it its group — UEFI 2.10 §7.1.4; EfiError INVALID_PARAMETER."""
        found = self._find(event)
        # "If Event is already in the signaled state, then EFI_SUCCESS is returned", and nothing is queued.
        if found.signalled:
            return
        if found.group is not None:
            self.signal_group(found.group)
        else:
            self._signal_one(found)

    def signal_group(self, group: Guid) -> None:
        """Signal every event of `group`, in order of creation; nothing happens when there is none."""
        for event in self._groups.get(group, ()):
            self._signal_one(self._events[event])

    def notifications(self, group: Guid) -> tuple[Notification, ...]:
        """Return the notifications of `group` in order of creation, whatever level holds them back."""
        found = (self._events[event] for event in self._groups.get(group, ()))
        return tuple(one.notification for one in found if one.notifies)

    def take_over(self, notification: Notification, group: Guid) -> None:
        """Have the event of `notification` in `group`, as it was made before this process began."""
        kind = EventType.NOTIFY_SIGNAL
        self._events[notification.event] = _Event(kind, notification, group, None)
        self._groups.setdefault(group, []).append(notification.event)

    def prepare_check(self, event: int) -> None:
        """Begin CheckEvent: queue what may signal `event` — UEFI 2.10 §7.1.6.

        Notifications are to be dispatched before `finish_check`.
        EfiError: INVALID_PARAMETER (no event, or one of type NOTIFY_SIGNAL).
        """
        found = self._find(event)
        if found.notifies:
            raise EfiError(EfiStatus.INVALID_PARAMETER, f"{event:#x} notifies; it cannot be waited for")
        # EVT_NOTIFY_WAIT: "its notify function is queued whenever a consumer of the event is waiting for it".
        if not found.signalled and found.kind & EventType.NOTIFY_WAIT:
            self._queue(found)

    def finish_check(self, event: int) -> bool:
        """End CheckEvent: return whether `event` is signalled, and clear it; False when it is closed."""
        found = self._events.get(event)
        if found is None:
            return False
        signalled = found.signalled or (found.ready is not None and found.ready())
        found.signalled = False
        return signalled

    def asks(self, event: int) -> bool:
        """Return whether checking `event` asks a function of the guest, which may come to signal it."""
        found = self._events.get(event)
        return found is not None and bool(found.kind & EventType.NOTIFY_WAIT)

    def set_timer(self, event: int, delay: TimerDelay, trigger_time: int) -> None:
        """Set or cancel the timer of `event`, `trigger_time` in 100 ns — UEFI 2.10 §7.1.7.

        EfiError: INVALID_PARAMETER (no timer event, or no kind of delay).
        """
        found = self._find(event)
        if not found.kind & EventType.TIMER:
            raise EfiError(EfiStatus.INVALID_PARAMETER, f"{event:#x} is no timer event")
        if not delay.known:
            raise EfiError(EfiStatus.INVALID_PARAMETER, f"{delay.name} is no timer setting")
        found.due, found.period = None, 0.0
        if delay == TimerDelay.CANCEL:
            return
        seconds = trigger_time / TIMER_UNITS_PER_SECOND
        if delay == TimerDelay.PERIODIC:
            # A periodic timer with a TriggerTime of 0 is signalled on every timer tick.
            seconds = found.period = max(seconds, _TICK)
        found.due = self._clock() + seconds
        self._due = found.due if self._due is None else min(self._due, found.due)

    def expire(self) -> None:
        """Signal the events whose timers have run out; cheap while none has."""
        if self._due is None:
            return
        now = self._clock()
        if now < self._due:
            return
        for event, found in list(self._events.items()):
            if found.due is None or found.due > now:
                continue
            if found.period:
                # A period that passed unseen is not made up for: an event is signalled or it is not.
                found.due += found.period * ((now - found.due) // found.period + 1)
            else:
                found.due = None
            self.signal(event)
        pending = [found.due for found in self._events.values() if found.due is not None]
        self._due = min(pending, default=None)

    def seconds_to_timer(self) -> float | None:
        """Return the seconds until the next timer runs out, 0 when it has, None when none is set."""
        return None if self._due is None else max(0.0, self._due - self._clock())

    def stop_timers(self) -> None:
        """Cancel every timer for good: "timers only function during boot services time"."""
        for found in self._events.values():
            found.due = None
        self._due = None

    def raise_tpl(self, new: int) -> int:
        """Raise the level to `new` and return the one before — UEFI 2.10 §7.1.8.

        EfiError INVALID_PARAMETER when that is no raising: the specification calls the result indeterminate.
        """
        if not self.tpl <= new <= Tpl.HIGH_LEVEL:
            raise EfiError(EfiStatus.INVALID_PARAMETER, f"RaiseTPL from {self.tpl} to {new}")
        old, self.tpl = self.tpl, new
        return old

    def restore_tpl(self, old: int) -> None:
        """Lower the level to `old` — UEFI 2.10 §7.1.9; notifications are then to be dispatched.

        EfiError INVALID_PARAMETER when that is no lowering.
        """
        if old > self.tpl:
            raise EfiError(EfiStatus.INVALID_PARAMETER, f"RestoreTPL from {self.tpl} to {old}")
        # Below TPL_APPLICATION is nothing: a guest that restores to 0 means "as it was at the beginning".
        self.tpl = max(old, Tpl.APPLICATION)

    def next_notification(self) -> Notification | None:
        """Take the notification to make now: highest level first, then the oldest; None for none."""
        ready = [tpl for tpl, queue in self._queues.items() if queue and tpl > self.tpl]
        if not ready:
            return None
        event = self._queues[max(ready)].popleft()
        found = self._events[event]
        found.queued = False
        # Its notification takes an event of type NOTIFY_SIGNAL back to the waiting state; the others wait
        # for CheckEvent.
        if found.notifies:
            found.signalled = False
        return found.notification

    @contextmanager
    def at(self, tpl: int) -> Iterator[None]:
        """Hold the level at `tpl`, and put it back whatever the guest did meanwhile."""
        before, self.tpl = self.tpl, tpl
        try:
            yield
        finally:
            self.tpl = before

    def _add(
        self,
        kind: int,
        tpl: int,
        function: int,
        context: int,
        group: Guid | None,
        ready: Callable[[], bool] | None,
    ) -> int:
        if len(self._events) >= _LIMIT:
            raise EfiError(EfiStatus.OUT_OF_RESOURCES, f"there are {_LIMIT} events")
        event = self._next
        self._next += 0x10
        self._events[event] = _Event(kind, Notification(event, function, context, tpl), group, ready)
        if group is not None:
            self._groups.setdefault(group, []).append(event)
        return event

    def _find(self, event: int) -> _Event:
        found = self._events.get(event)
        if found is None:
            raise EfiError(EfiStatus.INVALID_PARAMETER, f"{event:#x} is not, or no longer, an event")
        return found

    def _signal_one(self, found: _Event) -> None:
        found.signalled = True
        if found.notifies:
            self._queue(found)

    def _queue(self, found: _Event) -> None:
        if not found.queued:
            found.queued = True
            self._queues.setdefault(found.notification.tpl, deque()).append(found.notification.event)
