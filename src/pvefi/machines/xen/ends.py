# SPDX-License-Identifier: GPL-2.0-or-later
"""How a domain ends, and what that means for its guest's run."""

from __future__ import annotations

from enum import StrEnum

from pvefi.machines.stop import Crashed, Died, PoweredOff, Restarted, Stop

__all__ = ["DomainEnd", "end_stop"]


class DomainEnd(StrEnum):
    """Xen's SHUTDOWN_* (xen/include/public/sched.h), or that there is no such domain any more."""

    POWERED_OFF = "powered off"
    REBOOTED = "rebooted"
    SUSPENDED = "suspended"
    CRASHED = "crashed"
    WATCHDOG = "watchdog"
    SOFT_RESET = "soft reset"
    GONE = "gone"


_DEATHS = {
    DomainEnd.SUSPENDED: "the domain was suspended, to be saved or migrated: it goes on without EFI",
    DomainEnd.SOFT_RESET: "the domain asked for a soft reset",
    DomainEnd.GONE: "somebody has destroyed the domain",
}


_CRASHES = {
    DomainEnd.CRASHED: "the guest has told Xen that it crashed, or Xen has ended it",
    DomainEnd.WATCHDOG: "the guest did not feed its watchdog",
}


def end_stop(end: DomainEnd, *, restarts: bool) -> Stop | None:
    """Return why the run stops; None where the guest is to start anew.

    Xen tells no triple fault from a reset: both are REBOOTED.
    """
    if end is DomainEnd.POWERED_OFF:
        return PoweredOff()
    if end is DomainEnd.REBOOTED:
        return None if restarts else Restarted()
    if end in _CRASHES:
        return Crashed(_CRASHES[end])
    return Died(_DEATHS[end])
