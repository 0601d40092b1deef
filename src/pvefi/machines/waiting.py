# SPDX-License-Identifier: GPL-2.0-or-later
"""How long a guest waits for an answer, in ticks of its own time-stamp counter, whose speed nobody tells."""

from __future__ import annotations

from pvefi.guest.mailbox import Mailbox

__all__ = ["WaitBound"]

_SPAN = 0.005
"""Seconds between two moments from which the counter's speed can be told well enough."""
_SLOWEST, _FASTEST = 1e8, 1e10
"""Ticks a second: no time-stamp counter is slower or faster."""
_LONGEST = (1 << 63) - 1
"""Ticks of the longest wait that a mailbox can state."""


class WaitBound:
    """Keeps the bound of a guest's waits at `seconds`, or more; with 0 the guest waits without end.

    The counter's speed is told from doorbells, never too low: from the guest's counter at a doorbell to the
    one when it saw a later answer lies all the time from the host's taking of that doorbell to its giving of
    that answer. Whoever was stopped meanwhile, the least that was seen is the best.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._speed = _FASTEST
        self._taken: tuple[float, int] | None = None
        self._answered = 0.0
        self._extended = False

    def rung(self, mailbox: Mailbox, seq: int, now: float) -> None:
        """Look at doorbell `seq`, taken at `now`, in seconds of a clock that goes forward."""
        _, ticks = mailbox.times()
        if seq == 1:  # the trampoline has set counter and bound anew
            self._taken = None
        if self._extended or (seq == 1 and (not self._seconds or self._speed < _FASTEST)):
            self._extended = False
            self._set(mailbox)
        if self._taken is None:
            self._taken = now, ticks
            return
        span, counted = self._answered - self._taken[0], mailbox.saw_answer() - self._taken[1]
        if span < _SPAN:
            return
        self._taken = now, ticks
        if 0 < counted < span * self._speed:
            self._speed = max(counted / span, _SLOWEST)
            self._set(mailbox)

    def extend(self, mailbox: Mailbox, seconds: float) -> None:
        """Let the guest wait for `seconds` more, this one time: the host lets time pass on purpose."""
        if self._seconds:
            self._extended = True
            self._set(mailbox, seconds)

    def answers(self, now: float) -> None:
        """Note that the answer is about to be given."""
        self._answered = now

    def stood_still(self) -> None:
        """Forget what was seen: the guest's counter stands still where a debugger stops it."""
        self._taken = None

    def _set(self, mailbox: Mailbox, more: float = 0.0) -> None:
        mailbox.bound_waits(min(int(self._speed * (self._seconds + more)), _LONGEST) if self._seconds else 0)
