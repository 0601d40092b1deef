# SPDX-License-Identifier: GPL-2.0-or-later
"""Time of day as the runtime services tell it — UEFI 2.10 §8.3.1."""

from __future__ import annotations

from enum import IntFlag

from pvefi.layout import S16, U8, U16, U32, Structure, layout

__all__ = [
    "EFI_UNSPECIFIED_TIMEZONE",
    "MINUTES_OF_A_TIME_ZONE",
    "NANOSECONDS_PER_SECOND",
    "YEARS",
    "Daylight",
    "Time",
    "TimeCapabilities",
    "is_daylight",
    "is_time_zone",
]

EFI_UNSPECIFIED_TIMEZONE = 0x07FF  # UEFI 2.10 §8.3.1: the time is local, and nobody says where
MINUTES_OF_A_TIME_ZONE = range(-1440, 1441)  # UEFI 2.10 §8.3.1
YEARS = range(1900, 10000)  # UEFI 2.10 §8.3.1
NANOSECONDS_PER_SECOND = 1_000_000_000


class Daylight(IntFlag):
    """EFI_TIME.Daylight — UEFI 2.10 §8.3.1."""

    ADJUST_DAYLIGHT = 0x01
    IN_DAYLIGHT = 0x02


def is_time_zone(minutes: int) -> bool:
    """Whether EFI_TIME.TimeZone may be `minutes` — UEFI 2.10 §8.3.1."""
    return minutes in MINUTES_OF_A_TIME_ZONE or minutes == EFI_UNSPECIFIED_TIMEZONE


def is_daylight(bits: int) -> bool:
    """Whether EFI_TIME.Daylight may be `bits`: "All other bits must be zero" — UEFI 2.10 §8.3.1."""
    return not bits & ~int(Daylight.ADJUST_DAYLIGHT | Daylight.IN_DAYLIGHT)


@layout(size=16)
class Time(Structure):
    """EFI_TIME — UEFI 2.10 §8.3.1; `time_zone` is in minutes: local time = UTC - time_zone."""

    year: U16
    month: U8
    day: U8
    hour: U8
    minute: U8
    second: U8
    _pad1: U8
    nanosecond: U32
    time_zone: S16
    daylight: U8
    _pad2: U8


@layout(size=12)
class TimeCapabilities(Structure):
    """EFI_TIME_CAPABILITIES — UEFI 2.10 §8.3.1.

    `resolution` is in counts per second, `accuracy` in 10^-6 parts per million, `sets_to_zero` a BOOLEAN.
    """

    resolution: U32
    accuracy: U32
    sets_to_zero: U8
    _pad: U8 = 0
    _pad2: U16 = 0
