# SPDX-License-Identifier: GPL-2.0-or-later
"""One boot with many branches: where a branch parts from the trunk, the process forks, and the child goes on.

What trunk and branch have in common runs once. A branch is told by its change of what stands behind a call:
faults that are injected from there on, a change of the environment, or both. All run on the embedded machine,
each in a process of its own; the trunk too.
"""

from __future__ import annotations

import os
import signal
import struct
import threading
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NoReturn

from pvefi.boot import Observer, boot
from pvefi.efi.environment import Environment
from pvefi.efi.intervention import Arrival, CallPlace, Fault
from pvefi.errors import MachineError, PvefiError, UsageError
from pvefi.evaluate.processes import (
    adopting,
    begin_group,
    bound,
    die_with,
    end_group,
    leave_signals,
    signal_name,
    undisturbed,
)
from pvefi.evaluate.values import packed, unpacked
from pvefi.machines.embedded.branching import BranchingMachine
from pvefi.prepare import PreparedBoot
from pvefi.verdict import BootResult

__all__ = ["Branch", "BranchEnd", "BranchResult", "Limits", "Parting", "explore"]

_LENGTH = struct.Struct("<Q")
_CONSOLE_KEPT = 1 << 16  # characters of what one boot writes
_BY_TIME = (signal.SIGXCPU, signal.SIGALRM)


@dataclass(frozen=True)
class Branch:
    """What is different from a call on, that call included; `name` is the asker's."""

    name: str
    faults: tuple[Fault, ...] = ()
    change: Callable[[Environment], None] | None = None


Parting = Callable[[Environment, Arrival], Sequence[Branch]]
"""What is asked before each call of the trunk is served, in the trunk's process: who parts here."""


@dataclass(frozen=True)
class Limits:
    """What the boots may take: `trunk` and `branch` are seconds of CPU time, each from its own start.

    A boot that waits may take ten times as long by the clock.
    """

    trunk: float
    branch: float

    @staticmethod
    def like(trunk: BranchResult) -> Limits:
        """Return what is enough for a boot that does what `trunk` did, and three times more."""
        seconds = 3 * trunk.cpu_seconds + 5
        return Limits(seconds, seconds)


class BranchEnd(StrEnum):
    """How the process of a boot ended."""

    ENDED = "ended"
    """The boot came to an end, told by its result."""
    HUNG = "hung"
    """It was ended when its time was up."""
    DIED = "died"
    """A signal ended it: the emulator crashed."""
    REFUSED = "refused"
    """The boot cannot be, as it is asked for."""
    FAILED = "failed"
    """The boot could not be carried out; nothing is known of the guest."""


@dataclass(frozen=True)
class BranchResult:
    """What came of one branch, or of the trunk, whose `name` is empty and `place` None.

    `boot` is there where it ENDED; `why` tells of any other end. `console` is the end of what the guest
    wrote since the branch parted, `cpu_seconds` what the process took from there.
    """

    name: str
    place: CallPlace | None
    end: BranchEnd
    why: str
    boot: BootResult | None
    console: str
    cpu_seconds: float


def explore(prepared: PreparedBoot, parting: Parting, jobs: int, limits: Limits) -> Generator[BranchResult]:
    """Boot `prepared` with the branches that `parting` names; yield each result when it is there.

    The trunk's comes last. It stands still while `jobs` branches run. A place that is never reached has no
    branches: who asked for some knows by their absence. Closing the iterator ends everything.
    UsageError where the boot cannot be, or not be branched; MachineError where the trunk fails.
    """
    options = prepared.options
    if options.machine.name != "embedded" or prepared.foreign is not None:
        raise UsageError(f"expected the embedded machine for branches, found {options.machine.name}")
    if options.variables is not None:
        raise UsageError("expected no file of variables: all branches would write to it")
    if threading.active_count() > 1:
        raise MachineError("expected a process with one thread, which alone a fork copies")
    alone = replace(prepared, options=replace(options, machine=BranchingMachine(), timeout=None))
    own = os.getpid()
    receiver, sender = os.pipe()
    with adopting():
        with undisturbed():
            trunk = os.fork()
            if not trunk:
                os.close(receiver)
                _be_trunk(alone, parting, jobs, limits, sender, own)
            begin_group(trunk)
        os.close(sender)
        try:
            yield from _received(receiver, trunk)
        finally:
            os.close(receiver)
            end_group(trunk)


def _received(receiver: int, trunk: int) -> Iterator[BranchResult]:
    """Yield what the trunk's process tells, and how it ended where it tells no more."""
    with open(receiver, "rb", closefd=False) as stream:
        while len(head := stream.read(_LENGTH.size)) == _LENGTH.size:
            data = stream.read(_LENGTH.unpack(head)[0])
            result = unpacked(data, BranchResult)
            yield result
            if result.place is None:
                if result.end is BranchEnd.REFUSED:
                    raise UsageError(result.why)
                if result.end is BranchEnd.FAILED:
                    raise MachineError(result.why)
                return
    _, status, usage = os.wait4(trunk, 0)
    end, why = _end_of(status)
    yield BranchResult("", None, end, why, None, "", usage.ru_utime + usage.ru_stime)


def _end_of(status: int) -> tuple[BranchEnd, str]:
    """Return what a process's wait status says of a boot that has told nothing."""
    code = os.waitstatus_to_exitcode(status)
    if -code in _BY_TIME:
        return BranchEnd.HUNG, "its time was up"
    if code < 0:
        return BranchEnd.DIED, f"the emulator was ended by {signal_name(-code)}"
    return BranchEnd.DIED, f"the emulator ended its process with status {code}"


def _be_trunk(
    prepared: PreparedBoot, parting: Parting, jobs: int, limits: Limits, sender: int, parent: int
) -> NoReturn:
    """Boot, in a process just forked for it, and every branch in a further one; never return."""
    status = 1
    try:
        begin_group(0)
        leave_signals()
        die_with(parent)
        bound(limits.trunk, 10 * limits.trunk)
        _Trunk(prepared, parting, jobs, limits, sender).run()
        status = 0
    except BaseException:
        if os.environ.get("PVEFI_DEBUG"):
            traceback.print_exc()
    finally:
        os._exit(status)


@dataclass
class _Child:
    """A branch's process that runs: `report` is the memory file in which it leaves its result."""

    branch: Branch
    place: CallPlace
    report: int


class _Trunk:
    """The boot in the trunk's process; in a branch's, the same object is that branch's."""

    def __init__(
        self, prepared: PreparedBoot, parting: Parting, jobs: int, limits: Limits, sender: int
    ) -> None:
        self._prepared = prepared
        self._parting = parting
        self._jobs = max(1, jobs)
        self._limits = limits
        self._sender = sender
        self._running: dict[int, _Child] = {}
        self._report: int | None = None
        self._console: deque[str] = deque()
        self._written_size = 0

    def run(self) -> None:
        """Boot to the end; leave the result where this process's parent looks for it."""
        result = self._boot()
        if self._report is not None:
            _write(self._report, packed(result))
            return
        self._await(0)
        self._tell(result)

    def _boot(self) -> BranchResult:
        observer = Observer(self._written, lambda _: None, lambda _: None, serial=self._serial)
        result, why, end = None, "", BranchEnd.ENDED
        try:
            result = boot(self._prepared, observer, arriving=self._arriving)
        except PvefiError as error:
            why, end = str(error), BranchEnd.FAILED if isinstance(error, MachineError) else BranchEnd.REFUSED
        return BranchResult("", None, end, why, result, "".join(self._console), _cpu_seconds())

    def _written(self, text: str) -> None:
        self._console.append(text)
        self._written_size += len(text)
        while self._written_size - len(self._console[0]) > _CONSOLE_KEPT:
            self._written_size -= len(self._console.popleft())

    def _serial(self, data: bytes) -> None:
        self._written(data.decode("latin-1"))

    def _arriving(self, efi: Environment, arrival: Arrival) -> tuple[Fault, ...]:
        if self._report is not None:  # a branch, which parts no more
            return ()
        for branch in self._parting(efi, arrival):
            self._await(self._jobs - 1)
            if self._fork(branch, arrival.place):
                if branch.change is not None:
                    branch.change(efi)
                return branch.faults
        return ()

    def _fork(self, branch: Branch, place: CallPlace) -> bool:
        """Go on in two processes; True in the branch's."""
        report = os.memfd_create("pvefi-branch", os.MFD_CLOEXEC)
        own = os.getpid()
        if child := os.fork():
            self._running[child] = _Child(branch, place, report)
            return False
        die_with(own)
        bound(self._limits.branch, 10 * self._limits.branch)
        os.close(self._sender)
        self._running.clear()
        self._report = report
        self._console.clear()
        self._written_size = 0
        return True

    def _await(self, at_most: int) -> None:
        """Wait until at most so many branches run, and pass on what came of the others.

        The time that this takes is none of the trunk's.
        """
        left, _ = signal.setitimer(signal.ITIMER_REAL, 0)
        while len(self._running) > at_most:
            self._end_one()
        signal.setitimer(signal.ITIMER_REAL, left)

    def _end_one(self) -> None:
        process, status, usage = os.wait3(0)
        child = self._running.pop(process)
        with closing(os.fdopen(child.report, "rb")) as file:
            file.seek(0)
            data = file.read()
        seconds = usage.ru_utime + usage.ru_stime
        if status or not data:
            end, why = _end_of(status)
            self._tell(BranchResult(child.branch.name, child.place, end, why, None, "", seconds))
            return
        told = unpacked(data, BranchResult)
        self._tell(replace(told, name=child.branch.name, place=child.place, cpu_seconds=seconds))

    def _tell(self, result: BranchResult) -> None:
        data = packed(result)
        _write(self._sender, _LENGTH.pack(len(data)) + data)


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system
