# SPDX-License-Identifier: GPL-2.0-or-later
"""One running embedded guest: doorbells are answered inside the OUT hook, everything else stops the CPU."""

from __future__ import annotations

import ctypes
import itertools
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from pvefi.errors import GuestFault
from pvefi.guest.mailbox import Answer, Finish, Function, Mailbox, Request, Reset
from pvefi.machines.embedded.counting import InstructionCounter
from pvefi.machines.embedded.ports import Ports
from pvefi.machines.faults import INVALID_OPCODE, PAGE_FAULT, exception_name, fault_of
from pvefi.machines.machine import Hardware, Look
from pvefi.machines.stop import Fault, Finished, Halted, Reached, Stop, TimedOut, Watchpoint
from pvefi.memory import GuestMemory
from pvefi.spec.xen.start_info import HvmMemmapTableEntry

if TYPE_CHECKING:
    from pvefi.machines.embedded.engine import Engine
    from pvefi.machines.embedded.exceptions import PendingException

__all__ = ["EmbeddedGuest"]

_TICKS_A_READ = 10_000
"""How far a seeded guest's time-stamp counter goes from one RDTSC to the next."""


def _seeded_clock(seed: int) -> Iterator[int]:
    """Yield the time-stamp counter of a guest with `seed`: the same sequence at every boot.

    Linux mixes the counter into KASLR's seed (arch/x86/lib/kaslr.c), so randomness is fixed only with it.
    """
    return itertools.count(random.Random(seed).getrandbits(40), _TICKS_A_READ)  # noqa: S311  to repeat


_PATIENCE = 0.1
"""Seconds that a service has to come to its end by itself when the run is being ended."""


class _RunEnded(BaseException):
    """Raised in a service that is still at work when the run is to end; no body may catch it."""


class EmbeddedGuest:
    """See `Guest` for what each method promises."""

    def __init__(
        self,
        engine: Engine,
        memory: GuestMemory,
        mailbox: memoryview,
        hardware: Hardware,
        console: Callable[[bytes], None],
    ) -> None:
        self.memory = memory
        self._engine = engine
        self._mailbox = Mailbox(mailbox)
        self._ports = Ports(self._rung, console, hardware.seed)
        self._counter = InstructionCounter() if hardware.count else None
        self._answer: Callable[[Request], Answer] | None = None
        self._stop: Stop | None = None
        self._runner: threading.Thread | None = None
        self._answering_call = 0
        self._ending = threading.Event()
        self._ended = threading.Event()
        self._ended.set()
        self._failure: BaseException | None = None
        self._raised: PendingException | None = None
        self._answering = 0.0
        self._watched: dict[int, list[Watchpoint]] = {}
        engine.on_port(self._ports.write, self._ports.read)
        engine.on_exception(self._exception)
        engine.on_unmapped(self._unmapped)
        if hardware.seed is not None:
            engine.on_time_stamp(_seeded_clock(hardware.seed).__next__)
        if self._counter:
            engine.hook_code(self._counter.callback, self._counter.user_data, 1, 0)

    def run(
        self, answer: Callable[[Request], Answer], timeout: float | None, look: Look | None = None
    ) -> Stop:
        """Run the CPU in a thread of its own, so that a time-out or Ctrl-C ends it wherever it is."""
        self._begin(answer)
        self._ended.clear()
        self._runner = threading.Thread(target=self._emulate, name="pvefi-cpu", daemon=True)
        self._runner.start()
        try:
            # Not Thread.join(): a join that Ctrl-C interrupts leaves a thread that runs on and claims to
            # have ended (CPython 3.11, Thread._wait_for_tstate_lock).
            if not self._ended.wait(timeout):
                before = self._stop  # what happens while the run is being ended is not how it ended
                self._end()
                self._stop = before or TimedOut(timeout or 0.0, self._engine.register("rip"))
        except BaseException:
            self._end()
            raise
        return self._result()

    def _begin(self, answer: Callable[[Request], Answer]) -> None:
        self._answer, self._stop, self._failure = answer, None, None
        self._ending.clear()

    def _result(self) -> Stop:
        """Return how the run ended, or raise what an answer did."""
        if self._failure is not None and not isinstance(self._failure, _RunEnded):
            raise self._failure
        return self._stop or Halted(self._engine.register("rip"))

    def _end(self) -> None:
        """End the run wherever it is, in the CPU or in an answer; Ctrl-C counts only after that.

        Memory and CPU go when this returns, so the thread that uses them must have ended.
        """
        self._ending.set()
        interrupt: KeyboardInterrupt | None = None
        seen = -1
        while self._runner is not None and self._runner.is_alive() and not self._ended.is_set():
            self._engine.stop()
            try:
                self._ended.wait(_PATIENCE)
            except KeyboardInterrupt as error:
                interrupt = error
            if self._answering_call and self._answering_call == seen and self._runner.ident is not None:
                # One service has been at work all this time: it ends as by Ctrl-C in the main thread.
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(self._runner.ident), ctypes.py_object(_RunEnded)
                )
            seen = self._answering_call
        if interrupt is not None:
            raise interrupt

    def _emulate(self) -> None:
        try:
            while self._run_once() and not self._ending.is_set():
                pass
        except BaseException as error:
            self._failure = error
        finally:
            self._ended.set()

    def _run_once(self) -> bool:
        """Run until the CPU stops; True when it is to go on, in the guest's own exception handler."""
        from pvefi.machines.embedded.engine import EngineError

        try:
            self._engine.run()
        except EngineError as error:
            if not error.invalid_instruction:
                self._stop = self._stop or self._fault(str(error), None)
            elif self._stop is None:
                self._exception(INVALID_OPCODE)
        exception, self._raised = self._raised, None
        if exception is None or self._stop is not None:
            return False
        vector = exception.vector
        what = exception_name(vector)
        try:
            if self._engine.deliver(exception):
                return True
        except GuestFault as fault:
            what += f" whose handler has no stack ({fault})"
        self._stop = self._fault(what, vector)
        return False

    def _fault(self, what: str, vector: int | None) -> Fault:
        touched = self._engine.register("cr2") if vector == PAGE_FAULT else None
        return Fault(what, vector, touched, self._engine.register("rip"))

    def _rung(self) -> None:
        began = time.perf_counter()
        assert self._answer is not None
        request = self._mailbox.request()
        if request.function == Function.EXCEPTION:
            self._halt(fault_of(self.memory, request))
            return
        self._answering_call = request.seq
        try:
            answer = self._answer(request)
        except BaseException as error:
            self._failure = error
            self._engine.stop()
            return
        finally:
            self._answering_call = 0
        if isinstance(answer, Finish | Reset):
            self._halt(Finished(answer.reason))
        else:
            self._mailbox.publish(answer)
        self._answering += time.perf_counter() - began

    def _halt(self, stop: Stop) -> None:
        if self._stop is None:
            self._stop = stop
        self._engine.stop()

    def _exception(self, vector: int) -> None:
        self._raised = self._engine.exception(vector)
        self._engine.stop()

    def _unmapped(self, access: str, address: int) -> None:
        self._halt(Fault(f"{access} of unmapped memory", None, address, self._engine.register("rip")))

    def watch(self, watchpoints: Iterable[Watchpoint]) -> None:
        """Add watchpoints; see `Guest.watch`."""
        fresh: list[int] = []
        for watchpoint in watchpoints:
            if watchpoint.address not in self._watched:
                self._watched[watchpoint.address] = []
                fresh.append(watchpoint.address)
            self._watched[watchpoint.address].append(watchpoint)
        self._engine.on_execution(fresh, self._executing)

    def _executing(self, address: int) -> None:
        for watchpoint in self._watched[address]:
            if self.memory.contiguous(address) < watchpoint.size:
                continue
            if watchpoint.matches(self.memory.read(address, watchpoint.size)):
                self._watched[address].remove(watchpoint)
                self._halt(Reached(watchpoint))
                return

    def ram(self, _memory_map: Sequence[HvmMemmapTableEntry]) -> GuestMemory:
        """Return the guest's memory, which was laid out before it started."""
        return self.memory

    def given_up(self) -> int:
        """Return 0: the guest stands still until it has its answer."""
        return 0

    def detach(self) -> None:
        """Do nothing: what is not asked costs nothing."""

    def listen(self) -> None:
        """Do nothing: nothing is typed here."""

    def expect_reset(self) -> None:
        """Do nothing: no kernel gets so far here."""

    def typed(self) -> None:
        """Return None: nothing will ever be typed."""

    def finish(self, reason: object) -> None:
        """End the run; see `Guest.finish`."""
        self._halt(Finished(reason))

    def look_soon(self, _seconds: float) -> None:
        """Do nothing: this CPU cannot be looked at while it runs."""

    def survivor(self) -> None:
        """Return None: a guest that is part of this process ends with it."""

    def idle(self, seconds: float) -> None:
        """Sleep, but wake when the run is being ended."""
        self._ending.wait(seconds)

    def registers(self) -> Mapping[str, int]:
        """Return the CPU's registers by lower-case name."""
        return self._engine.registers()

    def instructions(self) -> int | None:
        """Return the exact count, or None without --count."""
        return self._counter.value if self._counter else None

    def answering_seconds(self) -> float:
        """Return the seconds spent in answers."""
        return self._answering

    def close(self) -> None:
        """Free the CPU and the guest's memory."""
        self._end()
        self._mailbox.release()
        self._engine.close()
        self.memory.release()
