# SPDX-License-Identifier: GPL-2.0-or-later
"""How long a guest waits for an answer, in ticks of its own time-stamp counter, whose speed nobody tells."""

from __future__ import annotations

from pvefi.guest.mailbox import Mailbox

__all__ = ["WaitBound"]

_SPAN = 0.005
"""Seconds between two doorbells from which the counter's speed can be told well enough."""


class WaitBound:
    """Sets the bound of a guest's waits to `seconds`, as soon as two doorbells tell how fast it counts."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._first: tuple[float, int] | None = None
        self._set = False

    def rung(self, mailbox: Mailbox, now: float) -> None:
        """Look at a doorbell that the host has seen at `now`, in seconds of a clock that goes forward."""
        start, ticks = mailbox.times()
        if self._first is None or ticks < self._first[1] or start > self._first[1]:  # or it was reset
            self._first, self._set = (now, ticks), False
        span, counted = now - self._first[0], ticks - self._first[1]
        if not self._set and span >= _SPAN and counted > 0:
            mailbox.bound_waits(int(counted / span * self._seconds))
            self._set = True
