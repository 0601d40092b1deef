# SPDX-License-Identifier: GPL-2.0-or-later
"""One running QEMU guest: one loop over its doorbell, its console, its monitor and its end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from pvefi.errors import MachineError, UsageError
from pvefi.guest.mailbox import Enter, Finish, Function, Mailbox, Reset, Upcall
from pvefi.guest.trampoline import Trampoline
from pvefi.machines.faults import fault_of
from pvefi.machines.machine import CpuState, Keyboard
from pvefi.machines.qemu.cpus import cpu_states
from pvefi.machines.qemu.process import QemuProcess, Shared
from pvefi.machines.qemu.qmp import Qmp
from pvefi.machines.qemu.ram import RamFile, ram_blocks
from pvefi.machines.qemu.resets import reset_stop, shutdown_stop
from pvefi.machines.qemu.watching import Watching
from pvefi.machines.serial_port import SerialPort
from pvefi.machines.serving import ServedGuest
from pvefi.machines.stop import Died, Finished, PoweredOff, Reached, Watchpoint
from pvefi.memory import GuestMemory, RamBlock
from pvefi.spec.xen.start_info import HvmMemmapTableEntry

__all__ = ["QemuGuest"]

_LOW_RAM = 2 << 30  # bytes of the RAM file that are at their own address on every machine
_CHUNK = 65536
_MONITOR_SECONDS = 1.0
_LAST_WORDS = 2.0
"""Seconds for a process that has ended to be seen as such, and for the monitor's last events to arrive."""
_FIRST_LOOK = 1.0


class QemuGuest(ServedGuest):
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
        super().__init__(patience)
        self.memory = GuestMemory([RamBlock(0, shared.ram[: min(len(shared.ram), _LOW_RAM)])])
        self._process = process
        self._shared = shared
        self._mailbox = Mailbox(self.memory.view(*trampoline.mailbox))
        self._monitor = Qmp(shared.monitor)
        self._restarts = restarts
        self._outlives = outlives
        self._exact = exact
        self._blocked = False
        self._boots = 0
        self._resets = False
        if shared.doorbell is not None:
            shared.doorbell.setblocking(False)
            self._readiness.watch(shared.doorbell.fileno(), self._doorbell)
        self._serial = SerialPort(shared.console, self._readiness, console, keyboard, self._leave)
        self._readiness.watch(self._monitor.fileno(), self._events)
        self._readiness.watch(process.pidfd, self._ended)
        self._watching = Watching(shared.debugger) if shared.debugger is not None else None
        if self._watching is not None:
            self._readiness.watch(self._watching.fileno(), self._stopped)

    def ram(self, memory_map: Sequence[HvmMemmapTableEntry]) -> GuestMemory:
        """Return all of the guest's memory; see `Guest.ram`."""
        self.memory = GuestMemory(ram_blocks(self._shared.ram, memory_map, RamFile(self._shared.ram_file)))
        return self.memory

    def _go_on(self) -> None:
        if self._watching is not None:
            self._watching.resume()

    def _wait_for_end(self, seconds: float) -> bool:
        return self._process.wait(seconds)

    def _doorbell(self) -> None:
        assert self._shared.doorbell is not None
        try:
            rings = self._shared.doorbell.recv(_CHUNK)
        except BlockingIOError:
            return
        except ConnectionError:
            rings = b""
        if not rings:
            self._readiness.forget(self._shared.doorbell.fileno())
        for _ in rings:
            if self._stop is None:
                self._rung()

    def _rung(self) -> None:
        began = time.perf_counter()
        assert self._answer is not None
        request = self._mailbox.request()
        if request.seq == 0:
            return  # the machine was reset between the doorbell and now
        if self._given_up(request.seq):
            return
        if request.function == Function.EXCEPTION:
            self._stop = fault_of(self.memory, request)
            return
        if request.function == Function.BOOT and request.seq == 1:
            self._boots += 1
            self._serial.drain()  # what the guest has said of its reset comes before it
            self._serial.hold()
            meant, self._resets = self._resets, False
            if self._boots > 1 and (
                stop := reset_stop(self._shared.log.read(), restarts=self._restarts, meant=meant)
            ):
                self._stop = stop
                return
        self._blocked = True
        self._began = began
        self._bound.rung(self._mailbox, request.seq, began)
        answer = self._answer(request)
        if isinstance(answer, Finish):
            self._stop = Finished(answer.reason)
        elif isinstance(answer, Reset):
            self._reset(answer)
        elif not self._given_up(request.seq):
            self._arm()
            self._bound.answers(time.perf_counter())
            self._mailbox.publish(answer)
            self._unblock()
            if isinstance(answer, Upcall | Enter):
                self._monitor.reach()  # the guest is busy with its image
        self._answering += time.perf_counter() - began

    def _unblock(self) -> None:
        """Let the CPU go on that waits for room on the second doorbell."""
        if self._blocked and self._shared.blocking is not None:
            with contextlib.suppress(OSError):  # QEMU has gone
                self._shared.blocking.recv(1)
        self._blocked = False

    def _arm(self) -> None:
        """Arm what the answer's makers want watched; a CPU that is blocked could not be stopped for it."""
        if self._watching is not None and self._watching.wanted:
            self._unblock()
            self._watching.arm()
            self._bound.stood_still()

    def _reset(self, answer: Reset) -> None:
        if not self._restarts:
            self._stop = Finished(answer.reason)
            return
        self._unblock()
        self._monitor.execute("system_reset")

    def _events(self) -> None:
        for event in self._monitor.events():
            if event.name == "SHUTDOWN":
                self._over = shutdown_stop(
                    str(event.data.get("reason")), self._shared.log.read(), meant=self._resets
                )
        if self._monitor.ended:
            self._readiness.forget(self._monitor.fileno())

    def _ended(self) -> None:
        """Take what the process has left behind and say how it ended."""
        self._readiness.forget(self._process.pidfd)
        self._serial.drain()
        how = self._process.ended()
        self._monitor.wait_for_end(_LAST_WORDS)
        self._events()
        if self._over is None and not self._boots and self._process.refused():
            raise UsageError(
                f"QEMU does not start: {self._process.complaint()}",
                "change what was given: --cpu, --qemu-arg, --disk",
            )
        if self._over is None:
            self._over = PoweredOff() if how == "" and self._boots else Died(self._process.last_words())

    def detach(self) -> None:
        """Do nothing: a doorbell that nobody rings costs nothing."""

    def expect_reset(self) -> None:
        """Take a triple fault for a reset, until the next start; see `Guest.expect_reset`."""
        self._resets = True

    def watch(self, watchpoints: Iterable[Watchpoint]) -> None:
        """Add watchpoints, armed with the answer to the doorbell; see `Guest.watch`."""
        assert self._watching is not None, "Hardware.watched said that there would be none"
        self._watching.add(watchpoints)

    def _stopped(self) -> None:
        assert self._watching is not None
        if watchpoint := self._watching.stopped(self.memory):
            self._stop = Reached(watchpoint)

    def _cpus(self) -> tuple[CpuState, ...]:
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

    def survivor(self) -> int | None:
        """Return QEMU's process number where the guest will live on; see `Guest.survivor`."""
        lives_on = self._outlives and self._process.ended() is None and self._mailbox.goes_on_alone
        return self._process.pid if lives_on else None

    def close(self) -> None:
        """End QEMU, unless the guest is to live on, and free what it was given."""
        lives_on = self.survivor() is not None
        if lives_on:
            self._mailbox.hang_up()
            with contextlib.suppress(MachineError):  # nobody would be there to answer BOOT
                self._monitor.execute("set-action", {"reboot": "shutdown"}, timeout=_MONITOR_SECONDS)
        with contextlib.ExitStack() as ends:  # each of them, whatever interrupts another
            for end in (self.memory.release, self._mailbox.release, self._shared.close):
                ends.callback(end)
            if self._watching is not None:
                ends.callback(self._watching.close)
            ends.callback(self._monitor.close)
            ends.callback(self._process.leave if lives_on else self._process.close)
