# SPDX-License-Identifier: GPL-2.0-or-later
"""The bound of a guest's waits, from doorbells and answers in its own time and the host's."""

from __future__ import annotations

import struct

from pvefi.guest.mailbox import STAGING_SIZE, Mailbox, MailboxLayout
from pvefi.machines.waiting import WaitBound

SPEED = 2e9
PATIENCE = 30.0


class Side:
    """A mailbox whose guest counts SPEED ticks a second."""

    def __init__(self, seconds: float = PATIENCE) -> None:
        self.page = bytearray(0x6000 + STAGING_SIZE)
        self.mailbox = Mailbox(memoryview(self.page))
        self.bound = WaitBound(seconds)
        self.seq = 0

    def put(self, name: str, value: int) -> None:
        struct.pack_into("<Q", self.page, MailboxLayout.offset_of(name), value)

    def call(self, rung: float, taken: float, answered: float, seen: float) -> None:
        """Ring at `rung`, be taken at `taken`, answered at `answered`, seen by the guest at `seen`."""
        self.seq += 1
        self.put("tsc_in", int(rung * SPEED))
        self.bound.rung(self.mailbox, self.seq, taken)
        self.bound.answers(answered)
        self.put("tsc_out", int(seen * SPEED))

    @property
    def seconds(self) -> float:
        return MailboxLayout.unpack(self.page).bound / SPEED


def test_after_two_calls_the_bound_is_what_was_wished_for_and_little_more() -> None:
    side = Side()
    side.call(1.0, 1.0001, 1.0002, 1.0003)
    side.call(1.1, 1.1001, 1.1002, 1.1003)
    side.call(1.2, 1.2001, 1.2002, 1.2003)
    assert PATIENCE <= side.seconds < 1.1 * PATIENCE


def test_whoever_was_stopped_meanwhile_makes_no_bound_too_short() -> None:
    side = Side()
    side.put("bound", 1)  # what is told of below is set by these calls
    side.call(1.0, 1.2, 1.3, 1.35)  # the guest saw more time pass than the host
    side.call(2.0, 3.0, 3.1, 4.0)
    assert side.seconds > 3 * PATIENCE
    side.call(5.0, 5.1, 5.2, 5.2)
    assert side.seconds > 3 * PATIENCE
    side.call(6.0, 6.0, 6.1, 6.1)
    side.call(7.0, 7.0, 7.1, 7.1)
    assert PATIENCE <= side.seconds < 2 * PATIENCE


def test_times_that_tell_nothing_leave_the_trampolines_own_bound() -> None:
    side = Side()
    side.put("bound", 10**11)
    side.call(1.0, 1.5, 1.6, 1.7)
    side.call(2.0, 3.0, 3.1, 4.0)
    assert side.seconds == 10**11 / SPEED


def test_a_guest_that_is_to_wait_for_ever_does() -> None:
    side = Side(0)
    for at in (1.0, 1.1, 1.2):
        side.call(at, at, at, at)
    assert side.seconds == 0


def test_a_service_that_lets_time_pass_extends_one_wait() -> None:
    side = Side()
    for at in (1.0, 1.1, 1.2):
        side.call(at, at + 0.0001, at + 0.0002, at + 0.0003)
    before = side.seconds
    side.bound.extend(side.mailbox, 100)
    assert side.seconds >= before + 100
    side.call(1.3, 1.3001, 1.3002, 1.3003)
    assert side.seconds < before + 1


def test_a_wait_fits_into_its_word() -> None:
    side = Side()
    side.bound.extend(side.mailbox, 1e12)
    assert MailboxLayout.unpack(side.page).bound == (1 << 63) - 1
