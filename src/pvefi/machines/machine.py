# SPDX-License-Identifier: GPL-2.0-or-later
"""The one interface behind which every machine stands."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from pvefi.guest.mailbox import Answer, Request
from pvefi.guest.trampoline import Trampoline
from pvefi.machines.stop import Stop, Watchpoint
from pvefi.memory import GuestMemory
from pvefi.spec.xen.start_info import HvmMemmapTableEntry

__all__ = [
    "CpuState",
    "ForeignBoot",
    "ForeignWay",
    "Guest",
    "Hardware",
    "Keyboard",
    "Look",
    "Machine",
]


@dataclass(frozen=True)
class Hardware:
    """What the guest is to consist of.

    `memory_size` is in bytes; `command_line` travels in hvm_start_info; `seed` fixes what randomness the
    hardware itself gives; `count` asks for exact instruction counts. `disks` are files with raw contents;
    one whose name ends in .qcow2 is a QCOW2 image. A guest that resets starts anew where `restarts` is set.
    Watchpoints are set only where `watched` says so.
    """

    memory_size: int
    command_line: str = ""
    seed: int | None = None
    count: bool = False
    cpus: int = 1
    disks: tuple[Path, ...] = ()
    restarts: bool = True
    watched: bool = True


class ForeignWay(StrEnum):
    """Who boots an image that is not entered by pvefi."""

    LINUX = "qemu-linux"
    """QEMU's bzImage loader: the 16-bit entry."""
    PVH = "qemu-pvh"
    """QEMU's loader of ELF files with a PVH note."""
    OVMF = "ovmf"
    """OVMF: the EFI entry, by the firmware of edk2."""
    XEN_PVH = "xen-pvh"
    """xl: the entry of the PVH note, in a domain of type pvh."""
    XEN_PV = "xen-pv"
    """xl: the Xen PV entry, in a domain of type pv."""


@dataclass(frozen=True)
class ForeignBoot:
    """A kernel, as the bytes of its file, that somebody else boots; `initrd` is a file.

    `variables` is the file or block device in which OVMF keeps its variables, a store of `store_size` bytes
    at its start; None for a new one that goes with the guest.
    """

    way: ForeignWay
    kernel: bytes
    initrd: Path | None
    command_line: str
    variables: Path | None = None
    store_size: int = 0


@dataclass(frozen=True)
class CpuState:
    """What a running CPU was doing at one moment: `privilege` is its ring, 3 for user space."""

    instruction_pointer: int
    privilege: int
    halted: bool
    interrupts: bool


Look = Callable[[tuple[CpuState, ...]], float]
"""What `Guest.run` calls now and then with the state of each CPU; returns the seconds until the next time."""


class Keyboard(Protocol):
    """Where the guest's serial port gets its input from.

    What a `patient` one has waits until somebody reads at the guest's end: a serial port whose driver is not
    up yet loses it.
    """

    @property
    def patient(self) -> bool:
        """Whether it can wait."""
        ...

    def fileno(self) -> int:
        """Return the descriptor that is readable when there is something to read."""
        ...

    def read(self) -> bytes | None:
        """Return what was typed; empty when there will be no more, None when the user leaves."""
        ...


class Guest(Protocol):
    """A guest that has been started: no doorbell is answered before `run`, so that it comes no further.

    `memory` may be read and written from the start; all that lies above 4 GiB is there after `ram`.
    """

    memory: GuestMemory

    def ram(self, memory_map: Sequence[HvmMemmapTableEntry]) -> GuestMemory:
        """Return all memory of the guest, now that its own `memory_map` tells where it is."""
        ...

    def listen(self) -> None:
        """Give the guest's serial port from now on what is typed; until then it is held."""
        ...

    def given_up(self) -> int:
        """Return the number of the doorbell whose answer the guest has not waited for, 0 for none."""
        ...

    def detach(self) -> None:
        """Leave a guest that will ring no more to itself, from the answer on that is due.

        Nothing of pvefi may be in use there any more. Its console and its end are seen as before; its memory
        need not be.
        """
        ...

    def expect_reset(self) -> None:
        """Take a triple fault from now on for one of the ways to reset: the guest has said that it will."""
        ...

    def typed(self) -> bytes | None:
        """Take what was typed and is held; None when there will be no more of it."""
        ...

    def finish(self, reason: object) -> None:
        """End the run with Finished(reason): for those who watch the console or a call, from within."""
        ...

    def run(
        self, answer: Callable[[Request], Answer], timeout: float | None, look: Look | None = None
    ) -> Stop:
        """Run until something other than an answered doorbell happens; `timeout` in seconds of wall clock.

        What the guest has written before its end has reached the console. An error that `answer` raises comes
        out of here. A guest that has ended ends every further run in the same way. An answer to a call for
        which the guest has stopped waiting is not given. Halted is told by machines that run no kernels;
        elsewhere an interrupt could wake the guest, and `look` sees that all CPUs stand still.
        Where CPUs can be looked at while they run, `look` is called after a second, and then when it says.
        KeyboardInterrupt passes through, the guest stopped.
        """
        ...

    def watch(self, watchpoints: Iterable[Watchpoint]) -> None:
        """Add watchpoints; code at their addresses must not have been executed before."""
        ...

    def look_soon(self, seconds: float) -> None:
        """Have `run`'s look taken in so many seconds."""
        ...

    def survivor(self) -> int | None:
        """Return the number of the process in which the guest lives on after `close`; None where it ends."""
        ...

    def idle(self, seconds: float) -> None:
        """Let `seconds` pass while a doorbell is being answered; less when the run is being ended."""
        ...

    def registers(self) -> Mapping[str, int]:
        """Return the general and control registers by lower-case name, of the CPU that stopped last.

        A guest that still runs is stopped for it, and goes on with the next `run`.
        """
        ...

    def instructions(self) -> int | None:
        """Return how many instructions the guest has executed, or None when they are not counted.

        The count may be that of the last doorbell; it is the same from run to run.
        """
        ...

    def answering_seconds(self) -> float:
        """Return the wall-clock seconds that the host spent on answering, the guest standing still."""
        ...

    def close(self) -> None:
        """End the guest and free what it holds: no process, no descriptor, no memory and no file is left."""
        ...


class Machine(Protocol):
    """A kind of machine, such as "embedded"."""

    name: str
    runs_kernels: bool
    """Whether a kernel runs on here after the hand-off."""
    watches: bool
    """Whether it can stop at a hand-off: watchpoints can be set."""
    extra_version: str
    """What follows major and minor in Xen's version, such as ".7"; empty where it is not Xen."""
    console: str
    """The name under which Linux knows the console that pvefi shows."""

    @property
    def epoch(self) -> int | None:
        """What a guest's clock says at its start, in seconds since 1970, where its time is counted in
        instructions; None where its time is the host's."""
        ...

    @property
    def about(self) -> str:
        """What the machine is in detail, such as its version; one line."""
        ...

    def kernel_argument(self) -> str:
        """Return what a Linux kernel has to be told of this machine, as NAME=VALUE; empty for nothing."""
        ...

    def start(
        self,
        trampoline: Trampoline,
        hardware: Hardware,
        console: Callable[[bytes], None],
        keyboard: Keyboard | None = None,
    ) -> Guest:
        """Place the trampoline and return the guest, ready to run.

        `console` receives what the guest writes to its serial port, `keyboard` gives it input. UsageError
        when `hardware` asks for what the machine cannot be, MachineError when it is missing or fails.
        """
        ...

    def start_foreign(
        self,
        boot: ForeignBoot,
        hardware: Hardware,
        console: Callable[[bytes], None],
        keyboard: Keyboard | None = None,
    ) -> Guest:
        """Let somebody else boot a kernel on the same hardware, for comparison; no doorbell will ring.

        UsageError where this machine has no such way.
        """
        ...
