# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a guest runs. A machine offers memory, a start and stops, and knows nothing of EFI."""

from pvefi.machines.machine import (
    CpuState,
    Died,
    Fault,
    Finished,
    ForeignBoot,
    ForeignWay,
    Guest,
    Halted,
    Hardware,
    Keyboard,
    Left,
    Machine,
    PoweredOff,
    Reached,
    Restarted,
    Stop,
    TimedOut,
    Watchpoint,
)

__all__ = [
    "CpuState",
    "Died",
    "Fault",
    "Finished",
    "ForeignBoot",
    "ForeignWay",
    "Guest",
    "Halted",
    "Hardware",
    "Keyboard",
    "Left",
    "Machine",
    "PoweredOff",
    "Reached",
    "Restarted",
    "Stop",
    "TimedOut",
    "Watchpoint",
]
