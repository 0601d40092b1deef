# SPDX-License-Identifier: GPL-2.0-or-later
"""How far a boot has come: its milestones, and the end that its goal or its console calls for."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from pvefi.console_watch import ConsoleMark, ConsoleWatch, MarkKind
from pvefi.machines.machine import CpuState
from pvefi.verdict import Goal, Milestone, Outcome, Verdict

__all__ = ["Progress"]

_SOON, _FIRST_SPAN, _LONGEST_SPAN = 0.1, 1.0, 60.0
"""Seconds until the CPUs are looked at: after a hint, after the first look, and at the latest."""
_USER_RING = 3
_ENDS_OF_A_PANIC = (Outcome.POWERED_OFF, Outcome.REBOOTED, Outcome.FAULTED, Outcome.TIMED_OUT)
_IDLE_SAMPLES = 2
"""How often in a row all CPUs have to be seen halted for good."""


class Steered(Protocol):
    """What of a guest its progress needs; see `pvefi.machines.Guest`."""

    def finish(self, reason: object) -> None:
        """End the run."""
        ...

    def look_soon(self, seconds: float) -> None:
        """Look at the CPUs in so many seconds."""
        ...

    def expect_reset(self) -> None:
        """Take a triple fault for a reset."""
        ...

    def listen(self) -> None:
        """Give the guest's serial port what is typed."""
        ...


_XEN_LOADS = re.compile(r"Xen \d[^\n]* EFI loader")
"""What xen.efi says first: Xen, xen/common/efi/boot.c, efi_start."""
_SAID_AT_MOST = 256


class Progress:
    """The milestones of one boot, in seconds from its start, and what its console has told.

    A kernel that another one starts by kexec is part of the same boot and passes no milestone again.

    A CPU at privilege level 3 runs a process; not so once a Xen has said that it is there, in the firmware's
    console or its own: a PV dom0 runs at that level from its first instruction on.

    The guest that it steers is ended when the goal is reached or the console says that all is over.
    """

    def __init__(self, goal: Goal) -> None:
        self._goal = goal
        self._said = ""
        self._xen_loads = False
        self._guest: Steered | None = None
        self._listens = False
        self._span = _FIRST_SPAN
        self._began = time.monotonic()
        self._console = ConsoleWatch()
        self._panic = ""
        self._crashed = ""
        self._stays = ""
        self._followers = 0
        self._kexec = self._restart = False
        self._announced = ""
        self._halted = 0
        self.milestones: dict[Milestone, float] = {}
        self.boots = 0

    def steer(self, guest: Steered) -> None:
        """Take the guest whose progress this is; it may have written to its console before."""
        self._guest = guest

    def _finish(self, verdict: Verdict) -> None:
        if self._guest is not None:
            self._guest.finish(verdict)

    def boot(self) -> None:
        """Note that the trampoline has rung: at the start, or because the guest was reset."""
        self.boots += 1
        self._halted, self._announced, self._listens = 0, "", False
        self._said, self._xen_loads = "", False
        self._reset()
        self.milestones = {}
        self.reached(Milestone.DOORBELL)

    def _reset(self) -> None:
        """Begin anew after a reset; that ends a boot that has panicked, with a crash kernel or without."""
        self._kexec, self._restart, self._stays = False, False, ""
        if panic := self._panic or self._crashed:
            self._finish(Verdict(Outcome.PANICKED, f"{panic}; then the guest reset the machine"))
        else:
            self._followers = 0

    def reached(self, milestone: Milestone) -> None:
        """Note that the guest passes `milestone` now."""
        self.milestones.setdefault(milestone, self.seconds())

    def seconds(self) -> float:
        """Return the time since the start."""
        return time.monotonic() - self._began

    def said(self, text: str) -> None:
        """Look at what was written to the firmware's console."""
        self._said = (self._said + text)[-_SAID_AT_MOST:]
        self._xen_loads = self._xen_loads or bool(_XEN_LOADS.search(self._said))

    def console(self, data: bytes) -> None:
        """Look at what the guest has written to its console."""
        for mark in self._console.feed(data):
            self._marked(mark)

    def _marked(self, mark: ConsoleMark) -> None:
        match mark.kind:
            case MarkKind.PANIC:
                self._panic = self._panic or mark.text
            case MarkKind.KEXEC:
                self._kexec = True
            case MarkKind.KERNEL:
                self._kernel()
            case MarkKind.PANIC_STAYS:
                self._stays = self._panic or "the kernel panicked"
                self._hinted()
            case MarkKind.USER_SPACE:
                self.reached(Milestone.USER_SPACE)
                self._announced = mark.text
                self._hinted()
            case MarkKind.INIT_FAILED:
                self.milestones.pop(Milestone.USER_SPACE, None)
                self._announced = ""
            case MarkKind.RESTART:
                self._restart = True
                if self._guest is not None:
                    self._guest.expect_reset()
            case MarkKind.HALT:
                self._hinted()
                self._span = _SOON
            case MarkKind.PROBE:
                self._user_space("the probe says so")
            case _:
                pass

    def _hinted(self) -> None:
        if self._guest is not None:
            self._guest.look_soon(_SOON)

    def _kernel(self) -> None:
        """Take the first line of a kernel: the next one only where something has announced that."""
        if self._panic:
            self._crashed, self._panic = self._crashed or self._panic, ""
            self._followers += 1
        elif self._kexec:
            self._followers += 1
        elif self._restart:  # where others boot, no doorbell tells of it
            self._reset()
        self._kexec = self._restart = False

    def _user_space(self, how: str) -> None:
        self.reached(Milestone.USER_SPACE)
        if self._guest is not None and not self._listens:
            self._listens = True
            self._guest.listen()
        if self._goal is Goal.USERSPACE:
            self._finish(Verdict(Outcome.USER_SPACE, f"the first process runs: {how}"))

    def look(self, cpus: Sequence[CpuState]) -> float:
        """Look at what the CPUs are doing, for a kernel that tells nothing on its console.

        Return the seconds until the next look: ever more.

        A kernel that has announced its first process, and not taken it back since, runs it.
        """
        user = any(cpu.privilege == _USER_RING for cpu in cpus)
        if self._stays and (user or any(cpu.halted and cpu.interrupts for cpu in cpus)):
            self._stays = self._panic = (
                ""  # a log that was read: a kernel that panicked does neither any more
            )
        elif self._stays:
            self._finish(Verdict(Outcome.PANICKED, self._stays))
        if user and not self._xen_loads and not self._console.under_xen:
            self._user_space("a CPU was seen at privilege level 3")
        elif self._announced:
            self._user_space(f"the kernel says {self._announced!r}")
        for_good = bool(cpus) and all(cpu.halted and not cpu.interrupts for cpu in cpus)
        self._halted = self._halted + 1 if for_good else 0
        if self._halted == _IDLE_SAMPLES:
            where = f"all CPUs have halted with interrupts off, the first at {cpus[0].instruction_pointer:#x}"
            panicked = Verdict(Outcome.PANICKED, self._panic)
            self._finish(panicked if self._panic else Verdict(Outcome.HALTED, where))
        self._span = min(2 * self._span, _LONGEST_SPAN)
        return self._span

    def amended(self, verdict: Verdict) -> Verdict:
        """Return the verdict that counts, with the kernels that have followed the first by kexec.

        A guest that resets, switches off or crashes after a panic has panicked, a crash kernel between them
        or not: a Linux that panics on Xen tells that to Xen, which takes it for a crash.
        """
        more = self._followers
        followed = f"; {more} more kernel{'s'[: more > 1]} had been started by kexec" if more else ""
        verdict = replace(verdict, message=verdict.message + followed)
        panic = self._panic or self._crashed
        if panic and verdict.outcome in _ENDS_OF_A_PANIC:
            return Verdict(Outcome.PANICKED, f"{panic}; then {verdict.message}")
        return verdict
