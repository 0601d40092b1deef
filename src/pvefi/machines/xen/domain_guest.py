# SPDX-License-Identifier: GPL-2.0-or-later
"""What every guest in a domain of Xen's has in common: how its end is waited for, and what cannot be seen."""

from __future__ import annotations

import math
import time
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import Protocol

from pvefi.machines.machine import CpuState
from pvefi.machines.readiness import is_ready
from pvefi.machines.serving import ServedGuest
from pvefi.machines.stop import Watchpoint
from pvefi.machines.xen.ends import DomainEnd

__all__ = ["Ending", "GuestOfDomain"]


class Ending(Protocol):
    """A domain whose end can be waited for."""

    def end(self) -> DomainEnd | None:
        """Return how it has ended; None while it lives."""
        ...

    def fileno(self) -> int:
        """Return the descriptor that is readable when `end` may say something else."""
        ...

    def seen(self) -> None:
        """Take what has made the descriptor readable."""
        ...


class GuestOfDomain(ServedGuest):
    """See `Guest` for what each method promises. Xen offers no watchpoints, and no CPU is looked at."""

    @property
    @abstractmethod
    def _ending(self) -> Ending:
        """The domain that the guest is now."""

    def _wait_for_end(self, seconds: float) -> bool:
        until = time.monotonic() + seconds
        while self._ending.end() is None:
            left = until - time.monotonic()
            if left <= 0 or not is_ready(self._ending.fileno(), left):
                return False
            self._ending.seen()
        return True

    def _look_first(self) -> None:
        """Look at no CPU by itself: a guest that sleeps is to cost nothing."""

    def _look_now(self) -> None:
        super()._look_now()
        self._next_look = math.inf  # only the console's words ask for another

    def _cpus(self) -> tuple[CpuState, ...]:
        return ()

    def expect_reset(self) -> None:
        """Do nothing: Xen tells no triple fault from a reset."""

    def watch(self, watchpoints: Iterable[Watchpoint]) -> None:
        """There are no watchpoints here; `Hardware.watched` is refused at the start."""
        raise AssertionError("Hardware.watched said that there would be none")

    def registers(self) -> Mapping[str, int]:
        """There are no registers to be had without watchpoints."""
        raise AssertionError("Hardware.watched said that nobody would ask")

    def instructions(self) -> int | None:
        """Return None: nobody counts instructions."""
        return None

    def survivor(self) -> int | None:
        """Return None: the domain ends with pvefi."""
        return None
