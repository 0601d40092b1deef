# SPDX-License-Identifier: GPL-2.0-or-later
"""Time that repeats: by instructions, and by a seed."""

from __future__ import annotations

from pvefi.clocks import InstructionTime, SeededTime


def test_an_instruction_takes_a_nanosecond_and_idling_what_was_asked_for() -> None:
    count: list[int | None] = [None]
    clock = InstructionTime(lambda: count[0], lambda _: None)
    assert clock.now() == 0
    count[0] = 3_000_000_000
    clock.idle(0.5)
    assert clock.now() == 3.5


def test_seeded_time_goes_on_with_each_look_and_by_what_is_idled() -> None:
    waited: list[float] = []
    clocks = [SeededTime(waited.append), SeededTime(waited.append)]
    told = []
    for clock in clocks:
        first = clock.now()
        clock.idle(1000)
        told.append((first, clock.now()))
    assert told[0] == told[1]
    assert 1000 < told[0][1] - told[0][0] < 1000.01
    assert waited == [0.0, 0.0]
