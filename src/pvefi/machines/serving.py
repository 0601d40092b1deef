# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest that runs beside pvefi needs: one loop that waits for all that can happen, and does one thing
at a time."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable

from pvefi.errors import MachineError
from pvefi.guest.mailbox import Answer, Mailbox, Request
from pvefi.machines.machine import CpuState, Look
from pvefi.machines.readiness import Readiness
from pvefi.machines.serial_port import SerialPort
from pvefi.machines.stop import Finished, GaveUp, Left, Stop, TimedOut
from pvefi.machines.waiting import WaitBound
from pvefi.memory import GuestMemory

__all__ = ["ServedGuest"]

_LAST_WORDS = 2.0
"""Seconds for a guest that has ended to be seen as such."""
_FIRST_LOOK = 1.0


class _RunEnded(BaseException):
    """Raised in a service that idles when the run is to end; no body may catch it."""


class ServedGuest(ABC):
    """The part of `Guest` that is the same wherever a guest runs by itself and rings now and then.

    Who inherits sets `memory`, `_mailbox` and `_serial`, and has `_readiness` call it.
    """

    memory: GuestMemory
    _mailbox: Mailbox
    _serial: SerialPort

    def __init__(self, patience: float) -> None:
        self._bound = WaitBound(patience)
        self._readiness = Readiness()
        self._answer: Callable[[Request], Answer] | None = None
        self._stop: Stop | None = None
        self._over: Stop | None = None  # why there is no guest any more
        self._answering = 0.0
        self._began = 0.0
        self._deadline = math.inf
        self._look: Look | None = None
        self._next_look = math.inf

    @abstractmethod
    def _go_on(self) -> None:
        """Let the guest run, which stood still since its start or the last stop."""

    @abstractmethod
    def _wait_for_end(self, seconds: float) -> bool:
        """Wait at most so long for the end of whatever the guest runs in; whether it has ended."""

    @abstractmethod
    def _ended(self) -> None:
        """Take what the guest has left behind, and set `_over`."""

    def run(
        self, answer: Callable[[Request], Answer], timeout: float | None, look: Look | None = None
    ) -> Stop:
        """Serve the guest until it ends, or something else is to be looked at; see `Guest.run`."""
        self._answer = answer
        self._look = look
        if look is not None and self._next_look == math.inf:
            self._look_first()
        self._deadline = math.inf if timeout is None else time.monotonic() + timeout
        try:
            if self._over is None:
                self._go_on()
            while self._stop is None and self._over is None:
                until = min(self._deadline, self._next_look)
                if until == math.inf:
                    self._readiness.serve(None, self._goes_on)
                    continue
                now = time.monotonic()
                if now >= self._deadline:
                    return TimedOut(timeout or 0.0, None)
                self._readiness.serve(max(0.0, until - now) * 1000, self._goes_on)
                if self._stop is None and time.monotonic() >= self._next_look:
                    self._look_now()
        except _RunEnded:
            if self._wait_for_end(0):
                self._ended()
            elif self._stop is None:
                return TimedOut(timeout or 0.0, None)
        except MachineError:
            if not self._wait_for_end(_LAST_WORDS):
                raise
            self._ended()
        self._serial.drain()  # what the guest had written before
        stop, self._stop = self._stop or self._over, None
        assert stop is not None, "nothing else ends the loop"
        return stop

    def _goes_on(self) -> bool:
        return self._stop is None

    def _left(self) -> float:
        return self._deadline - time.monotonic()

    def look_soon(self, seconds: float) -> None:
        """Have the CPUs looked at in `seconds`; see `Guest.look_soon`."""
        self._next_look = time.monotonic() + seconds

    def _look_first(self) -> None:
        self.look_soon(_FIRST_LOOK)

    def _look_now(self) -> None:
        self._next_look = math.inf
        if self._look is not None:
            self.look_soon(self._look(self._cpus()))

    @abstractmethod
    def _cpus(self) -> tuple[CpuState, ...]:
        """Return what each CPU is doing; empty where that cannot be known."""

    def _given_up(self, seq: int) -> bool:
        """Whether the guest waits for no answer any more; what it had asked for is then not done.

        While boot services last that is its end. Later it goes on, as if it had no EFI.
        """
        if not self._mailbox.given_up:
            return False
        if not self._mailbox.goes_on_alone:
            self._stop = self._stop or GaveUp(seq)
        return True

    def given_up(self) -> int:
        """Return the doorbell whose answer the guest has not waited for; see `Guest.given_up`."""
        return self._mailbox.given_up

    def listen(self) -> None:
        """Give the guest what there is to read; see `Guest.listen`."""
        self._serial.listen()

    def typed(self) -> bytes | None:
        """Return what was typed while nobody listens; see `Guest.typed`."""
        return self._serial.take()

    def _leave(self) -> None:
        self._stop = self._stop or Left()

    def finish(self, reason: object) -> None:
        """End the run; see `Guest.finish`."""
        if self._stop is None:
            self._stop = Finished(reason)

    def idle(self, seconds: float) -> None:
        """Let time pass, as long as the run lasts and the guest lives; it waits longer for that."""
        self._serial.hear()
        self._serial.drain()  # another CPU would wait for that
        left = self._left()
        self._bound.extend(self._mailbox, time.perf_counter() - self._began + seconds)
        if self._stop or self._wait_for_end(max(0.0, min(seconds, left))) or left <= seconds:
            raise _RunEnded

    def answering_seconds(self) -> float:
        """Return the seconds spent in answers."""
        return self._answering
