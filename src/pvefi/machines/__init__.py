# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a guest runs. A machine offers memory, a start and stops, and knows nothing of EFI."""

from pvefi.machines.machine import (
    Fault,
    Finished,
    Guest,
    Halted,
    Hardware,
    Machine,
    Reached,
    Stop,
    TimedOut,
    Watchpoint,
)

__all__ = [
    "Fault",
    "Finished",
    "Guest",
    "Halted",
    "Hardware",
    "Machine",
    "Reached",
    "Stop",
    "TimedOut",
    "Watchpoint",
]
