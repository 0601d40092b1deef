# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that xl starts by itself, for comparison: by the kernel's PVH note, or as a PV guest."""

from __future__ import annotations

import contextlib
import math
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from pvefi.errors import MachineError, UsageError
from pvefi.guest.mailbox import Answer, Request
from pvefi.machines.machine import ForeignBoot, ForeignWay, Hardware, Keyboard, Look
from pvefi.machines.qemu.readiness import Readiness, is_ready
from pvefi.machines.qemu.serial_port import SerialPort
from pvefi.machines.stop import Finished, Left, Stop, TimedOut, Watchpoint
from pvefi.machines.xen.console import QUIET_SECONDS, XenConsole
from pvefi.machines.xen.domain import Domain, create_paused
from pvefi.machines.xen.ends import end_stop
from pvefi.machines.xen.options import XenOptions
from pvefi.memory import GuestMemory
from pvefi.spec.xen.start_info import HvmMemmapTableEntry

__all__ = ["ForeignXenGuest", "private_file", "start_foreign"]

_KINDS = {ForeignWay.XEN_PVH: "pvh", ForeignWay.XEN_PV: "pv"}
_LAST_WORDS = 5.0
"""Seconds at most for what a guest that has ended wrote to arrive."""


@contextlib.contextmanager
def private_file(data: bytes, suffix: str = "") -> Iterator[Path]:
    """Give a file with these contents that nobody else may read, as long as the block lasts."""
    with tempfile.NamedTemporaryFile(prefix="pvefi-", suffix=suffix) as file:
        try:
            file.write(data)
            file.flush()
        except OSError as error:
            raise UsageError(
                f"{file.name}: {error.strerror}", "give TMPDIR a folder with more room"
            ) from error
        yield Path(file.name)


def start_foreign(
    options: XenOptions,
    boot: ForeignBoot,
    hardware: Hardware,
    console: Callable[[bytes], None],
    keyboard: Keyboard | None = None,
) -> ForeignXenGuest:
    """Have xl make a domain of the kernel; see `Machine.start_foreign`.

    UsageError when it cannot load the kernel, or this machine has no such way.
    """
    if boot.way not in _KINDS:
        raise UsageError(f"expected xen-pvh or xen-pv on Xen, found {boot.way}", "--machine qemu has it")

    def make() -> Domain:
        with private_file(boot.kernel) as kernel:
            config = options.directly(
                _KINDS[boot.way], kernel, boot.initrd and boot.initrd.absolute(), boot.command_line, hardware
            )
            try:
                return create_paused(config, options.root)
            except MachineError as error:
                if "xc_dom" in error.message or "kernel" in error.message.lower():
                    raise UsageError(
                        f"Xen cannot load the kernel: {error.message}",
                        "Xen's own loader knows few compressions, --entry efi takes every one",
                    ) from error
                raise

    return ForeignXenGuest(make, console, keyboard, restarts=hardware.restarts)


class ForeignXenGuest:
    """See `Guest` for what each method promises; no doorbell rings, and no CPU can be looked at.

    `make` makes the domain, and makes it anew when the guest has reset.
    """

    def __init__(
        self,
        make: Callable[[], Domain],
        console: Callable[[bytes], None],
        keyboard: Keyboard | None,
        *,
        restarts: bool,
    ) -> None:
        self.memory = GuestMemory(())
        self._make = make
        self._console = console
        self._keyboard = keyboard
        self._restarts = restarts
        self._listens = False
        self._stop: Stop | None = None
        self._over: Stop | None = None
        self._look: Look | None = None
        self._next_look = math.inf
        self._runs = False
        self._attach()

    def _attach(self) -> None:
        """Take a new domain."""
        self._domain = self._make()
        self._readiness = Readiness()
        try:
            terminal = XenConsole(self._domain.console())
            self._serial = SerialPort(terminal, self._readiness, self._console, self._keyboard, self._leave)
            self._readiness.watch(self._domain.fileno(), self._told)
            if self._listens:
                self._serial.listen()
        except BaseException:
            self._end_domain()
            raise

    def ram(self, memory_map: Sequence[HvmMemmapTableEntry]) -> GuestMemory:
        """Return what is seen of the guest's memory: nothing."""
        return self.memory

    def listen(self) -> None:
        """Give the guest what there is to read; see `Guest.listen`."""
        self._listens = True
        self._serial.listen()

    def expect_reset(self) -> None:
        """Take note of nothing: Xen tells of a reset in any case."""

    def typed(self) -> bytes | None:
        """Return what was typed while nobody listens; see `Guest.typed`."""
        return self._serial.take()

    def finish(self, reason: object) -> None:
        """End the run; see `Guest.finish`."""
        if self._stop is None:
            self._stop = Finished(reason)

    def _leave(self) -> None:
        self._stop = self._stop or Left()

    def run(
        self, answer: Callable[[Request], Answer], timeout: float | None, look: Look | None = None
    ) -> Stop:
        """Let it run to its end; `look` is called without a CPU, when it has asked for it by `look_soon`."""
        self._look = look
        end = math.inf if timeout is None else time.monotonic() + timeout
        if not self._runs:
            self._runs = True
            self._domain.unpause()
        while self._stop is None and self._over is None:
            now = time.monotonic()
            if now >= end:
                return TimedOut(timeout or 0.0, None)
            until = min(end, self._next_look)
            wait = None if until == math.inf else max(0.0, until - now) * 1000
            self._readiness.serve(wait, lambda: self._stop is None and self._over is None)
            if self._stop is None and time.monotonic() >= self._next_look:
                self._next_look = math.inf
                if self._look is not None:
                    self._look(())
        self._serial.drain()
        stop, self._stop = self._stop or self._over, None
        assert stop is not None, "nothing else ends the loop"
        return stop

    def _told(self) -> None:
        """See whether the domain has ended, and take its last words."""
        self._domain.seen()
        end = self._domain.end()
        if end is None:
            return
        self._hear_last_words()
        self._over = end_stop(end, restarts=self._restarts)
        if self._over is None and self._stop is None:
            self._end_domain()
            self._attach()
            self._domain.unpause()

    def _hear_last_words(self) -> None:
        terminal = self._domain.console()
        end = time.monotonic() + _LAST_WORDS
        while terminal in self._readiness and time.monotonic() < end and is_ready(terminal, QUIET_SECONDS):
            self._serial.drain()

    def _end_domain(self) -> None:
        """Destroy the domain, and pass on what xenconsoled still had."""
        with contextlib.ExitStack() as ends:
            ends.callback(self._domain.close)
            self._domain.destroy()

    def watch(self, watchpoints: Iterable[Watchpoint]) -> None:
        """Refuse: there are none on Xen."""
        raise UsageError("expected no watchpoint on Xen")

    def look_soon(self, seconds: float) -> None:
        """Have `run`'s look taken in so many seconds."""
        self._next_look = time.monotonic() + seconds

    def survivor(self) -> int | None:
        """Return None: the domain ends with `close`."""
        return None

    def idle(self, seconds: float) -> None:
        """Let time pass; nobody asks for it where no call is answered."""
        time.sleep(seconds)

    def registers(self) -> Mapping[str, int]:
        """Return nothing: they are not looked at."""
        return {}

    def instructions(self) -> int | None:
        """Return None: they are not counted."""
        return None

    def answering_seconds(self) -> float:
        """Return 0: nothing is answered."""
        return 0.0

    def close(self) -> None:
        """Destroy the domain; MachineError when it is still there."""
        self._end_domain()
