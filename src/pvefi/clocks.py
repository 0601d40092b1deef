# SPDX-License-Identifier: GPL-2.0-or-later
"""The time that services of a boot see."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable

from pvefi.efi.environment import Clock
from pvefi.machines import Guest, Machine
from pvefi.spec.uefi.time import NANOSECONDS_PER_SECOND

__all__ = ["InstructionTime", "SeededTime", "clock_of"]

_SEEDED_TIME = 1_735_689_600 * NANOSECONDS_PER_SECOND  # 2025-01-01 00:00:00 UTC
_SEEDED_STEP = NANOSECONDS_PER_SECOND // 1000
_STEP = 0.001  # seconds


def clock_of(guest: Guest, machine: Machine, seed: int | None) -> Clock:
    """Return the time that services see: the host's, or where instructions are counted, the guest's own.

    A guest that is to repeat has no other clock than that of services where it is no kernel's machine.
    """
    if (epoch := machine.epoch) is None:
        if seed is None or machine.runs_kernels:
            return Clock(idle=guest.idle, wall=_wall_clock(seed))
        seeded = SeededTime(guest.idle)
        return Clock(idle=seeded.idle, monotonic=seeded.now, wall=_wall_clock(seed))
    time_of_guest = InstructionTime(guest.instructions, guest.idle)
    return Clock(
        idle=time_of_guest.idle,
        monotonic=time_of_guest.now,
        wall=lambda: epoch * NANOSECONDS_PER_SECOND + int(time_of_guest.now() * NANOSECONDS_PER_SECOND),
    )


def _wall_clock(seed: int | None) -> Callable[[], int]:
    """Return the time of day; of a boot that is to repeat, one that goes on with each reading."""
    return time.time_ns if seed is None else itertools.count(_SEEDED_TIME, _SEEDED_STEP).__next__


class InstructionTime:
    """Time in which one instruction takes a nanosecond, and idling nothing but what was asked for."""

    def __init__(self, count: Callable[[], int | None], idle: Callable[[float], None]) -> None:
        self._count = count
        self._let_pass = idle
        self._idled = 0.0

    def now(self) -> float:
        """Return the seconds since the guest's first instruction."""
        return (self._count() or 0) / 1e9 + self._idled

    def idle(self, seconds: float) -> None:
        """Let `seconds` pass at once."""
        self._let_pass(0.0)  # the run may be over meanwhile
        self._idled += seconds


class SeededTime:
    """Time that is the same at every boot: it goes on with each look, and by what idling asks for."""

    def __init__(self, idle: Callable[[float], None]) -> None:
        self._let_pass = idle
        self._now = 0.0

    def now(self) -> float:
        """Return the seconds since the start."""
        self._now += _STEP
        return self._now

    def idle(self, seconds: float) -> None:
        """Let `seconds` pass at once."""
        self._let_pass(0.0)  # the run may be over meanwhile
        self._now += seconds
