# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a guest runs. A machine offers memory, a start and stops, and knows nothing of EFI."""

from pvefi.machines.machine import CpuState, ForeignBoot, ForeignWay, Guest, Hardware, Keyboard, Look, Machine
from pvefi.machines.stop import (
    Crashed,
    Died,
    Fault,
    Finished,
    GaveUp,
    Halted,
    Left,
    PoweredOff,
    Reached,
    Restarted,
    Stop,
    TimedOut,
    Watchpoint,
)

__all__ = [
    "CpuState",
    "Crashed",
    "Died",
    "Fault",
    "Finished",
    "ForeignBoot",
    "ForeignWay",
    "GaveUp",
    "Guest",
    "Halted",
    "Hardware",
    "Keyboard",
    "Left",
    "Look",
    "Machine",
    "PoweredOff",
    "Reached",
    "Restarted",
    "Stop",
    "TimedOut",
    "Watchpoint",
]
