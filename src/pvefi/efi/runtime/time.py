# SPDX-License-Identifier: GPL-2.0-or-later
"""Time services — UEFI 2.10 §8.3: the host's clock, and how far the guest has set its own from it.

There is no alarm that could wake a guest: GetWakeupTime() and SetWakeupTime() have no body.
"""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, datetime, timedelta

from pvefi.efi.environment import Environment
from pvefi.efi.errors import EfiError
from pvefi.efi.service import Pointer, service
from pvefi.spec.uefi.status import EfiStatus
from pvefi.spec.uefi.time import (
    EFI_UNSPECIFIED_TIMEZONE,
    MINUTES_OF_A_TIME_ZONE,
    NANOSECONDS_PER_SECOND,
    YEARS,
    Daylight,
    Time,
    TimeCapabilities,
)

__all__ = ["get_time", "set_time"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RESOLUTION = 1_000_000  # counts per second: Python's datetime has microseconds
_ACCURACY = 50_000_000  # 10^-6 parts per million: 50 ppm, what PCs' clocks promise


@service("GetTime", "UEFI 2.10 §8.3.1")
def get_time(efi: Environment, time: Pointer, capabilities: Pointer) -> None:
    """Store the time of day, and what the clock is capable of.

    INVALID_PARAMETER: `time` is NULL. DEVICE_ERROR: the clock has run beyond the years that can be told.
    """
    if not time:
        raise EfiError(EfiStatus.INVALID_PARAMETER, "Time is NULL")
    kept = efi.surroundings.kept
    try:
        now = _EPOCH + timedelta(seconds=efi.surroundings.clock.wall() + kept.clock_offset)
    except OverflowError as error:
        raise EfiError(EfiStatus.DEVICE_ERROR, "the clock has run out of years") from error
    if now.year not in YEARS:
        raise EfiError(EfiStatus.DEVICE_ERROR, f"the clock shows the year {now.year}")
    told = Time(
        year=now.year,
        month=now.month,
        day=now.day,
        hour=now.hour,
        minute=now.minute,
        second=now.second,
        _pad1=0,
        nanosecond=now.microsecond * 1000,
        time_zone=kept.time_zone,
        daylight=kept.daylight,
        _pad2=0,
    )
    efi.memory.write(time, told.pack())
    if capabilities:
        able = TimeCapabilities(resolution=_RESOLUTION, accuracy=_ACCURACY, sets_to_zero=False)
        efi.memory.write(capabilities, able.pack())


@service("SetTime", "UEFI 2.10 §8.3.2")
def set_time(efi: Environment, time: Pointer) -> None:
    """Set the guest's clock, which outlives its resets; the host's stays as it is.

    INVALID_PARAMETER: `time` is NULL, or one of its fields is out of range.
    """
    if not time:
        raise EfiError(EfiStatus.INVALID_PARAMETER, "Time is NULL")
    wanted = Time.unpack(efi.memory.read(time, Time.SIZE))
    _check(wanted)
    shown = datetime(
        wanted.year,
        wanted.month,
        wanted.day,
        wanted.hour,
        wanted.minute,
        wanted.second,
        wanted.nanosecond // 1000,
        tzinfo=UTC,
    )
    kept = efi.surroundings.kept
    kept.clock_offset = (shown - _EPOCH).total_seconds() - efi.surroundings.clock.wall()
    kept.time_zone = wanted.time_zone
    kept.daylight = wanted.daylight


def _check(time: Time) -> None:
    """Refuse a time with a field out of range; EfiError INVALID_PARAMETER."""
    ranges = {
        "Year": (time.year, YEARS),
        "Month": (time.month, range(1, 13)),
        "Hour": (time.hour, range(24)),
        "Minute": (time.minute, range(60)),
        "Second": (time.second, range(60)),
        "Nanosecond": (time.nanosecond, range(NANOSECONDS_PER_SECOND)),
        "Daylight": (time.daylight, range(int(Daylight.ADJUST_DAYLIGHT | Daylight.IN_DAYLIGHT) + 1)),
    }
    if time.time_zone != EFI_UNSPECIFIED_TIMEZONE:
        ranges["TimeZone"] = (time.time_zone, MINUTES_OF_A_TIME_ZONE)
    for name, (value, allowed) in ranges.items():
        if value not in allowed:
            raise EfiError(
                EfiStatus.INVALID_PARAMETER,
                f"{name}: expected {allowed.start} to {allowed.stop - 1}, found {value}",
            )
    _, days = monthrange(time.year, time.month)
    if not 1 <= time.day <= days:
        raise EfiError(EfiStatus.INVALID_PARAMETER, f"Day: expected 1 to {days}, found {time.day}")
