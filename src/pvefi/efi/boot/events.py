# SPDX-License-Identifier: GPL-2.0-or-later
"""Event, timer and task priority services — UEFI 2.10 §7.1.

Signalled events notify at the end of the service that signalled them; only the services that need the outcome
of a notification make it themselves.
"""

from __future__ import annotations

import struct
from typing import Annotated

from pvefi.efi.environment import Environment
from pvefi.efi.errors import EfiError
from pvefi.efi.notify import notify_due
from pvefi.efi.service import (
    TPL,
    UINT32,
    UINT64,
    UINTN,
    EndRun,
    Handle,
    Out,
    Pointer,
    Steps,
    service,
)
from pvefi.layout import Guid, Scalar
from pvefi.spec.uefi.events import TimerDelay, Tpl
from pvefi.spec.uefi.status import EfiStatus
from pvefi.trace.events import Address
from pvefi.verdict import Outcome, Verdict

__all__ = [
    "check_event",
    "close_event",
    "create_event",
    "create_event_ex",
    "idle",
    "raise_tpl",
    "restore_tpl",
    "set_timer",
    "signal_event",
    "wait_for_event",
]

_POLL = 0.01  # seconds between two rounds of asking for keys, or events that a guest's own function signals
_IDLE = 0.5  # seconds that pass at most before timers are looked at again
_EVENTS_AT_MOST = 1 << 16  # more than there can be at once


@service("CreateEvent", "UEFI 2.10 §7.1.1")
def create_event(
    efi: Environment,
    type_: UINT32,
    notify_tpl: TPL,
    notify_function: Pointer,
    notify_context: Pointer,
    event: Out[Handle],
) -> None:
    """Make an event.

    INVALID_PARAMETER: `event` is NULL, `type_` does not exist, or an event that notifies lacks a function
    or a level to notify at. OUT_OF_RESOURCES.
    """
    event.set(Address(efi.events.create(type_, notify_tpl, notify_function, notify_context)))


@service("CreateEventEx", "UEFI 2.10 §7.1.2")
def create_event_ex(
    efi: Environment,
    type_: UINT32,
    notify_tpl: TPL,
    notify_function: Pointer,
    notify_context: Pointer,
    event_group: Guid | None,
    event: Out[Handle],
) -> None:
    """Make an event that is signalled with all others of its group.

    INVALID_PARAMETER: as CreateEvent, and for the types that are groups themselves. OUT_OF_RESOURCES.
    """
    event.set(Address(efi.events.create(type_, notify_tpl, notify_function, notify_context, event_group)))


@service("CloseEvent", "UEFI 2.10 §7.1.3")
def close_event(efi: Environment, event: Handle) -> None:
    """Take an event away, with its timer, its notification and its registrations.

    INVALID_PARAMETER: `event` is none.
    """
    efi.events.close(event)
    efi.handles.unregister(event)
    efi.event_names.pop(event, None)


@service("SignalEvent", "UEFI 2.10 §7.1.4")
def signal_event(efi: Environment, event: Handle) -> None:
    """Signal an event, and its group.

    INVALID_PARAMETER: `event` is none.
    """
    efi.events.signal(event)


@service("WaitForEvent", "UEFI 2.10 §7.1.5")
def wait_for_event(
    efi: Environment, number_of_events: UINTN, event: Pointer, index: Out[UINTN] | None
) -> Steps[EndRun | None]:
    """Wait until one of several events is signalled, and store which.

    INVALID_PARAMETER: there are no events, or the one that `index` tells cannot be waited for.
    UNSUPPORTED: the task priority level is not TPL_APPLICATION.
    """
    if efi.events.tpl != Tpl.APPLICATION:
        raise EfiError(EfiStatus.UNSUPPORTED, f"waiting at TPL {efi.events.tpl}, not at {Tpl.APPLICATION}")
    if not number_of_events or not event:
        raise EfiError(EfiStatus.INVALID_PARAMETER, "no events to wait for")
    if number_of_events > _EVENTS_AT_MOST:
        raise EfiError(EfiStatus.INVALID_PARAMETER, f"{number_of_events} events are more than there are")
    wanted = struct.unpack(f"<{number_of_events}Q", efi.memory.read(event, 8 * number_of_events))
    while True:
        for at, one in enumerate(wanted):
            try:
                efi.events.prepare_check(one)
            except EfiError:
                if index is not None:
                    index.set(at)
                raise
            yield from notify_due(efi)
            if efi.events.finish_check(one):
                if index is not None:
                    index.set(at)
                return None
        seconds = efi.events.seconds_to_timer()
        asked = any(efi.events.asks(one) or efi.keys.may_signal(one) for one in wanted)
        if seconds is None and not asked:
            names = ", ".join(efi.event_names.get(one, f"event {one:#x}") for one in wanted)
            return EndRun(
                Verdict(Outcome.BLOCKED, f"the image waits for {names}, which nothing will ever signal")
            )
        step = _POLL if asked else _IDLE
        idle(efi, step if seconds is None else min(step, seconds))


def idle(efi: Environment, seconds: float) -> None:
    """Let `seconds` pass; EfiError ABORTED, which no guest gets to see, when the run is being ended."""
    clock = efi.surroundings.clock
    before = clock.monotonic()
    clock.idle(seconds)
    if clock.monotonic() - before < seconds / 2:
        raise EfiError(EfiStatus.ABORTED, "the run is being ended")


@service("CheckEvent", "UEFI 2.10 §7.1.6")
def check_event(efi: Environment, event: Handle) -> Steps[None]:
    """Tell whether an event is signalled, and clear it.

    NOT_READY: it is not. INVALID_PARAMETER: `event` is none, or of type EVT_NOTIFY_SIGNAL.
    """
    efi.events.prepare_check(event)
    yield from notify_due(efi)
    if not efi.events.finish_check(event):
        name = efi.event_names.get(event, f"{event:#x}")
        raise EfiError(EfiStatus.NOT_READY, f"{name} is not signalled")


@service("SetTimer", "UEFI 2.10 §7.1.7")
def set_timer(
    efi: Environment, event: Handle, type_: Annotated[TimerDelay, Scalar("I")], trigger_time: UINT64
) -> None:
    """Set when a timer event is signalled, in units of 100 ns, or that it is not.

    INVALID_PARAMETER: `event` is no timer event, or `type_` does not exist.
    """
    efi.events.set_timer(event, type_, trigger_time)


@service("RaiseTPL", "UEFI 2.10 §7.1.8", returns_status=False)
def raise_tpl(efi: Environment, new_tpl: TPL) -> int:
    """Raise the task priority level, and return the one before; 0, and no change, when that is no raising."""
    return efi.events.raise_tpl(new_tpl)


@service("RestoreTPL", "UEFI 2.10 §7.1.9", returns_status=False)
def restore_tpl(efi: Environment, old_tpl: TPL) -> None:
    """Lower the task priority level to what it was, and let held notifications run; no change upwards."""
    efi.events.restore_tpl(old_tpl)
