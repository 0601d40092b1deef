# SPDX-License-Identifier: GPL-2.0-or-later
"""Event types, task priority levels and timer kinds — UEFI 2.10 §7.1."""

from __future__ import annotations

from enum import IntFlag

from pvefi.layout import OpenEnum

__all__ = [
    "EVT_SIGNAL_EXIT_BOOT_SERVICES",
    "EVT_SIGNAL_VIRTUAL_ADDRESS_CHANGE",
    "TIMER_UNITS_PER_SECOND",
    "EventType",
    "TimerDelay",
    "Tpl",
]

TIMER_UNITS_PER_SECOND = 10_000_000  # UEFI 2.10 §7.1.7: "TriggerTime: the number of 100ns units"


class EventType(IntFlag):
    """EVT_* bits of an event's type — UEFI 2.10 §7.1.1."""

    NOTIFY_WAIT = 0x00000100
    NOTIFY_SIGNAL = 0x00000200
    RUNTIME = 0x40000000
    TIMER = 0x80000000


# UEFI 2.10 §7.1.1: whole types, not to be combined with other bits.
EVT_SIGNAL_EXIT_BOOT_SERVICES = 0x00000201
EVT_SIGNAL_VIRTUAL_ADDRESS_CHANGE = 0x60000202


class Tpl(OpenEnum):
    """EFI_TPL — UEFI 2.10 §7.1: the levels that have names, of the 0..31 that exist."""

    APPLICATION = 4
    CALLBACK = 8
    NOTIFY = 16
    HIGH_LEVEL = 31


class TimerDelay(OpenEnum):
    """EFI_TIMER_DELAY — UEFI 2.10 §7.1.7."""

    CANCEL = 0
    PERIODIC = 1
    RELATIVE = 2
