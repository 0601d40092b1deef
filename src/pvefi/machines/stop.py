# SPDX-License-Identifier: GPL-2.0-or-later
"""Why a guest's run has stopped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = [
    "Crashed",
    "Died",
    "Fault",
    "Finished",
    "GaveUp",
    "Halted",
    "Left",
    "PoweredOff",
    "Reached",
    "Restarted",
    "Stop",
    "TimedOut",
    "Watchpoint",
]


@dataclass(frozen=True)
class Watchpoint:
    """Stop when the CPU has jumped to `address` (guest physical) and `matches` accepts the bytes there.

    `matches` is given the `size` bytes that stand there at that moment. A watchpoint is reached once. `label`
    is the asker's; a machine hands it back unread.
    """

    address: int
    size: int
    matches: Callable[[bytes], bool]
    label: str


@dataclass(frozen=True)
class Finished:
    """The host's answer was Finish; `reason` is what it carried."""

    reason: object


@dataclass(frozen=True)
class Reached:
    """A watchpoint was reached; nothing at its address has been executed yet."""

    watchpoint: Watchpoint


@dataclass(frozen=True)
class Fault:
    """The CPU raised exception `vector` that nobody handles, or touched what is no memory.

    A machine that runs kernels has no such memory: there a PC's bus answers. A "triple fault" is a reset
    that the CPU asked for because exceptions had no handler; its instruction pointer may be 0, not known.

    `what` names it ("page fault", "write to unmapped memory"); `address` is the address touched (guest
    virtual) where there is one, `instruction_pointer` the instruction at fault.
    """

    what: str
    vector: int | None
    address: int | None
    instruction_pointer: int


@dataclass(frozen=True)
class Halted:
    """The CPU executed HLT and nothing can wake it."""

    instruction_pointer: int


@dataclass(frozen=True)
class GaveUp:
    """The guest has waited too long for the answer to doorbell `seq`, and stands still for good."""

    seq: int


@dataclass(frozen=True)
class TimedOut:
    """The time given for the run passed; the guest was wherever `instruction_pointer` says, if that is known.

    A machine that runs kernels runs on: the next `run` goes on where this one ended.
    """

    seconds: float
    instruction_pointer: int | None


@dataclass(frozen=True)
class PoweredOff:
    """The guest switched the machine off by its own means, such as ACPI."""


@dataclass(frozen=True)
class Restarted:
    """The guest reset the machine, by means of the hardware, and was not to start anew."""


@dataclass(frozen=True)
class Crashed:
    """The guest has crashed, as the machine sees it; `how` says in which way, as far as it is known."""

    how: str


@dataclass(frozen=True)
class Died:
    """The machine itself is gone; `how` says in which way, as far as that can be known."""

    how: str


@dataclass(frozen=True)
class Left:
    """The user has left the guest's console."""


Stop = (
    Finished | Reached | Fault | Halted | GaveUp | TimedOut | PoweredOff | Restarted | Crashed | Died | Left
)
