# SPDX-License-Identifier: GPL-2.0-or-later
"""One running QEMU guest: one loop over its doorbell, its console, its monitor and its end."""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from pvefi.errors import GuestFault, MachineError
from pvefi.guest.mailbox import Answer, Enter, Finish, Function, Mailbox, Request, Reset, Upcall
from pvefi.guest.trampoline import Trampoline
from pvefi.machines.faults import fault_of
from pvefi.machines.machine import (
    CpuState,
    Died,
    Finished,
    Keyboard,
    Left,
    PoweredOff,
    Reached,
    Restarted,
    Stop,
    TimedOut,
    Watchpoint,
)
from pvefi.machines.qemu.cpus import cpu_states
from pvefi.machines.qemu.process import QemuProcess, Shared
from pvefi.machines.qemu.qmp import Qmp
from pvefi.machines.qemu.ram import RamFile
from pvefi.machines.qemu.resets import triple_fault
from pvefi.machines.qemu.waiting import WaitBound
from pvefi.machines.qemu.watching import Watching
from pvefi.memory import GuestMemory, RamBlock
from pvefi.spec.xen.start_info import HvmMemmapTableEntry, MemmapType

__all__ = ["QemuGuest", "ram_blocks"]

_FOUR_GIB = 4 << 30
_LOW_RAM = 2 << 30  # bytes of the RAM file that are at their own address on every machine
_CHUNK = 65536
_MONITOR_SECONDS = 1.0


def ram_blocks(
    ram: memoryview, memory_map: Iterable[HvmMemmapTableEntry], file: RamFile | None = None
) -> list[RamBlock]:
    """Return where QEMU has put the RAM file: its end lies above 4 GiB as far as the guest's map says so.

    `file` is the file itself.
    """
    high = sum(
        entry.addr + entry.size - max(entry.addr, _FOUR_GIB)
        for entry in memory_map
        if entry.type == MemmapType.RAM and entry.addr + entry.size > _FOUR_GIB
    )
    if high > len(ram):
        raise GuestFault(f"the guest's memory map has {high:#x} bytes above 4 GiB, its RAM {len(ram):#x}")
    split = len(ram) - high
    blocks = [RamBlock(0, ram[:split], file)]
    if not high:
        return blocks
    return [*blocks, RamBlock(_FOUR_GIB, ram[split:], replace(file, start=split) if file else None)]


class _RunEnded(BaseException):
    """Raised in a service that idles when the run is to end; no body may catch it."""


class QemuGuest:
    """See `Guest` for what each method promises."""

    def __init__(
        self,
        process: QemuProcess,
        shared: Shared,
        trampoline: Trampoline,
        console: Callable[[bytes], None],
        keyboard: Keyboard | None,
        *,
        restarts: bool,
        patience: float,
        outlives: bool,
        exact: bool,
    ) -> None:
        self.memory = GuestMemory([RamBlock(0, shared.ram[: min(len(shared.ram), _LOW_RAM)])])
        self._process = process
        self._shared = shared
        self._mailbox = Mailbox(self.memory.view(*trampoline.mailbox))
        self._monitor = Qmp(shared.monitor)
        self._console = console
        self._keyboard = keyboard
        self._typed = bytearray()
        self._restarts = restarts
        self._bound = WaitBound(patience)
        self._outlives = outlives
        self._exact = exact
        self._answer: Callable[[Request], Answer] | None = None
        self._stop: Stop | None = None
        self._answering = 0.0
        self._blocked = False
        self._deadline: float | None = None
        self._boots = 0
        self._poll = select.poll()
        self._ready: dict[int, Callable[[], None]] = {}
        if shared.doorbell is not None:
            self._watch_for(shared.doorbell.fileno(), self._doorbell)
        self._watch_for(shared.console.fileno(), self._text)
        self._watch_for(self._monitor.fileno(), self._events)
        self._watch_for(process.pidfd, self._ended)
        self._watching = Watching(shared.debugger) if shared.debugger is not None else None
        if self._watching is not None:
            self._watch_for(self._watching.fileno(), self._stopped)
        if keyboard is not None and not keyboard.patient:
            self.listen()
        for end in (shared.doorbell, shared.console):
            if end is not None:
                end.setblocking(False)

    def _watch_for(self, descriptor: int, ready: Callable[[], None]) -> None:
        self._ready[descriptor] = ready
        self._poll.register(descriptor, select.POLLIN)

    def _forget(self, descriptor: int) -> None:
        if self._ready.pop(descriptor, None):
            self._poll.unregister(descriptor)

    def ram(self, memory_map: Sequence[HvmMemmapTableEntry]) -> GuestMemory:
        """Return all of the guest's memory; see `Guest.ram`."""
        self.memory = GuestMemory(ram_blocks(self._shared.ram, memory_map, RamFile(self._shared.ram_file)))
        return self.memory

    def run(self, answer: Callable[[Request], Answer], timeout: float | None) -> Stop:
        """Serve the guest until it ends, or something else is to be looked at; see `Guest.run`."""
        self._answer = answer
        if self._watching is not None:
            self._watching.resume()
        self._deadline = None if timeout is None else time.monotonic() + timeout
        try:
            while self._stop is None:
                left = self._left()
                if left is not None and left <= 0:
                    return TimedOut(timeout or 0.0, None)
                for descriptor, _ in self._poll.poll(None if left is None else left * 1000):
                    if self._stop is None and descriptor in self._ready:
                        self._ready[descriptor]()
        except _RunEnded:
            if self._stop is None:
                return TimedOut(timeout or 0.0, None)
        if self._shared.console.fileno() in self._ready:
            self._text()  # what the guest had written before
        stop, self._stop = self._stop, None
        return stop

    def _left(self) -> float | None:
        return None if self._deadline is None else self._deadline - time.monotonic()

    def _doorbell(self) -> None:
        assert self._shared.doorbell is not None
        try:
            rings = self._shared.doorbell.recv(_CHUNK)
        except BlockingIOError:
            return
        except ConnectionError:
            rings = b""
        if not rings:
            self._forget(self._shared.doorbell.fileno())
        for _ in rings:
            if self._stop is None:
                self._rung()

    def _rung(self) -> None:
        began = time.perf_counter()
        assert self._answer is not None
        request = self._mailbox.request()
        if request.seq == 0:
            return  # the machine was reset between the doorbell and now
        if request.function == Function.EXCEPTION:
            self._stop = fault_of(self.memory, request)
            return
        if request.function == Function.BOOT and request.seq == 1:
            self._boots += 1
            if self._boots > 1 and (fault := triple_fault(self._log())):
                self._stop = fault
                return
        self._blocked = True
        self._bound.rung(self._mailbox, began)
        answer = self._answer(request)
        if isinstance(answer, Finish):
            self._stop = Finished(answer.reason)
        elif isinstance(answer, Reset):
            self._reset(answer)
        else:
            self._arm()
            self._mailbox.publish(answer)
            self._unblock()
            if isinstance(answer, Upcall | Enter):
                self._monitor.reach()  # the guest is busy with its image
        self._answering += time.perf_counter() - began

    def _unblock(self) -> None:
        """Let the CPU go on that waits for room on the second doorbell."""
        if self._blocked and self._shared.blocking is not None:
            self._shared.blocking.recv(1)
        self._blocked = False

    def _arm(self) -> None:
        """Arm what the answer's makers want watched; a CPU that is blocked could not be stopped for it."""
        if self._watching is not None and self._watching.wanted:
            self._unblock()
            self._watching.arm()

    def _reset(self, answer: Reset) -> None:
        if not self._restarts:
            self._stop = Finished(answer.reason)
            return
        self._unblock()
        self._monitor.execute("system_reset")

    def _log(self) -> bytes:
        self._shared.log.seek(0)
        return self._shared.log.read()

    def _text(self) -> None:
        try:
            data = self._shared.console.recv(_CHUNK)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if data:
            self._console(data)
        else:
            self._forget(self._shared.console.fileno())

    def _keys(self) -> None:
        assert self._keyboard is not None
        typed = self._keyboard.read()
        if typed is None:
            self._stop = Left()
            return
        if not typed:
            self._forget(self._keyboard.fileno())
        try:
            self._shared.console.sendall(typed)
        except OSError:
            return  # nobody reads any more: what that means, the process's end tells

    def _events(self) -> None:
        for event in self._monitor.events():
            if event.name == "SHUTDOWN":
                self._stop = self._shut_down(str(event.data.get("reason")))
        if self._monitor.ended:
            self._forget(self._monitor.fileno())

    def _shut_down(self, reason: str) -> Stop:
        if fault := triple_fault(self._log()):
            return fault
        if reason == "guest-reset":
            return Restarted()
        return PoweredOff() if reason == "guest-shutdown" else Died(f"QEMU has ended: {reason}")

    def _ended(self) -> None:
        """Take what the process has left behind and say how it ended."""
        self._forget(self._process.pidfd)
        while self._shared.console.fileno() in self._ready:
            self._text()
        how = self._process.ended()
        self._events()
        if self._stop is None:
            told = PoweredOff() if how == "" else Died(how or "QEMU has ended")
            self._stop = triple_fault(self._log()) or told  # the monitor may not have been reached yet

    def listen(self) -> None:
        """Give the guest what there is to read; see `Guest.listen`."""
        if self._keyboard is not None:
            self._watch_for(self._keyboard.fileno(), self._keys)

    def finish(self, reason: object) -> None:
        """End the run; see `Guest.finish`."""
        if self._stop is None:
            self._stop = Finished(reason)

    def watch(self, watchpoints: Iterable[Watchpoint]) -> None:
        """Add watchpoints, armed with the answer to the doorbell; see `Guest.watch`."""
        assert self._watching is not None, "Hardware.watched said that there would be none"
        self._watching.add(watchpoints)

    def _stopped(self) -> None:
        assert self._watching is not None
        if watchpoint := self._watching.stopped(self.memory):
            self._stop = Reached(watchpoint)

    def idle(self, seconds: float) -> None:
        """Let time pass, but no longer than the run lasts or QEMU lives."""
        left = self._left()
        step = seconds if left is None else min(seconds, left)
        ended = select.select([self._process.pidfd], [], [], max(0.0, step))[0]
        if ended or (left is not None and left <= seconds):
            raise _RunEnded

    def cpus(self) -> tuple[CpuState, ...]:
        """Return what each CPU is doing; empty while the monitor does not answer."""
        try:
            told = self._monitor.execute(
                "human-monitor-command", {"command-line": "info registers -a"}, timeout=_MONITOR_SECONDS
            )
        except MachineError:
            return ()
        return cpu_states(str(told))

    def registers(self) -> Mapping[str, int]:
        """Return the registers of the CPU that stopped last, stopping all where none has."""
        assert self._watching is not None, "Hardware.watched said that nobody would ask"
        return self._watching.registers()

    def instructions(self) -> int | None:
        """Return the count at the last doorbell, from the trampoline's first instruction; exact runs only.

        There the time-stamp counter goes forward by one with every instruction.
        """
        if not self._exact:
            return None
        start, now = self._mailbox.times()
        return now - start

    def answering_seconds(self) -> float:
        """Return the seconds spent in answers."""
        return self._answering

    def close(self) -> None:
        """End QEMU, unless the guest is to live on, and free what it was given."""
        lives_on = self._outlives and self._process.ended() is None and self._mailbox.goes_on_alone
        if lives_on:
            self._mailbox.hang_up()
        self._monitor.close()
        if self._watching is not None:
            self._watching.close()
        if lives_on:
            self._process.leave()
        else:
            self._process.close()
        self._shared.close()
        self._mailbox.release()
        self.memory.release()
