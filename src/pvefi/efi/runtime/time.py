# SPDX-License-Identifier: GPL-2.0-or-later
"""Time services — UEFI 2.10 §8.3: the host's clock, and how far the guest has set its own from it."""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, datetime, timedelta

from pvefi.efi.environment import Environment
from pvefi.efi.errors import EfiError
from pvefi.efi.own_variables import ClockSetting, keep_clock_setting, read_clock_setting
from pvefi.efi.service import BOOLEAN, Out, Pointer, service
from pvefi.efi.varstore.store import StoreError
from pvefi.spec.uefi.status import EfiStatus
from pvefi.spec.uefi.time import (
    MINUTES_OF_A_TIME_ZONE,
    NANOSECONDS_PER_SECOND,
    YEARS,
    Daylight,
    Time,
    TimeCapabilities,
    is_daylight,
    is_time_zone,
)

__all__ = ["get_time", "get_wakeup_time", "set_time", "set_wakeup_time"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RESOLUTION = NANOSECONDS_PER_SECOND  # counts per second
_ACCURACY = 50_000_000  # 10^-6 parts per million: 50 ppm, what PCs' clocks promise
_DAYLIGHT = int(Daylight.ADJUST_DAYLIGHT | Daylight.IN_DAYLIGHT)


@service("GetTime", "UEFI 2.10 §8.3.1")
def get_time(efi: Environment, time: Pointer, capabilities: Pointer) -> None:
    """Store the time of day, and what the clock is capable of.

    INVALID_PARAMETER: `time` is NULL. DEVICE_ERROR: the clock has run beyond the years that can be told.
    """
    if not time:
        raise EfiError(EfiStatus.INVALID_PARAMETER, "Time is NULL")
    setting = read_clock_setting(efi.surroundings.kept.variables)
    seconds, nanosecond = divmod(efi.surroundings.clock.wall() + setting.offset, NANOSECONDS_PER_SECOND)
    try:
        now = _EPOCH + timedelta(seconds=seconds)
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
        nanosecond=nanosecond,
        time_zone=setting.time_zone,
        daylight=setting.daylight,
        _pad2=0,
    )
    efi.memory.write(time, told.pack())
    if capabilities:
        able = TimeCapabilities(resolution=_RESOLUTION, accuracy=_ACCURACY, sets_to_zero=False)
        efi.memory.write(capabilities, able.pack())


@service("SetTime", "UEFI 2.10 §8.3.2")
def set_time(efi: Environment, time: Pointer) -> None:
    """Set the guest's clock, which outlives its resets, and with a store its run; the host's stays as it is.

    INVALID_PARAMETER: `time` is NULL, or one of its fields is out of range. DEVICE_ERROR: the setting cannot
    be kept; the clock is as it was, or as it was to be.
    """
    if not time:
        raise EfiError(EfiStatus.INVALID_PARAMETER, "Time is NULL")
    wanted = Time.unpack(efi.memory.read(time, Time.SIZE))
    _check(wanted)
    shown = datetime(
        wanted.year, wanted.month, wanted.day, wanted.hour, wanted.minute, wanted.second, tzinfo=UTC
    )
    seconds = (shown - _EPOCH) // timedelta(seconds=1)
    offset = seconds * NANOSECONDS_PER_SECOND + wanted.nanosecond - efi.surroundings.clock.wall()
    try:
        keep_clock_setting(
            efi.surroundings.kept.variables, ClockSetting(offset, wanted.time_zone, wanted.daylight)
        )
    except StoreError as error:
        raise EfiError(EfiStatus.DEVICE_ERROR, error.message) from error


@service("GetWakeupTime", "UEFI 2.10 §8.3.3")
def get_wakeup_time(efi: Environment, enabled: Out[BOOLEAN], pending: Out[BOOLEAN], time: Pointer) -> None:
    """Refuse: there is no alarm that could wake a guest.

    INVALID_PARAMETER: an argument is NULL. UNSUPPORTED otherwise.
    """
    if not time:
        raise EfiError(EfiStatus.INVALID_PARAMETER, "Time is NULL")
    raise EfiError(EfiStatus.UNSUPPORTED, "there is no alarm that could wake a guest")


@service("SetWakeupTime", "UEFI 2.10 §8.3.4")
def set_wakeup_time(efi: Environment, enable: BOOLEAN, time: Pointer) -> None:
    """Refuse: there is no alarm that could wake a guest.

    UNSUPPORTED always.
    """
    raise EfiError(EfiStatus.UNSUPPORTED, "there is no alarm that could wake a guest")


def _check(time: Time) -> None:
    """Refuse a time with a field out of range; EfiError INVALID_PARAMETER."""
    ranges = {
        "Year": (time.year, YEARS),
        "Month": (time.month, range(1, 13)),
        "Hour": (time.hour, range(24)),
        "Minute": (time.minute, range(60)),
        "Second": (time.second, range(60)),
        "Nanosecond": (time.nanosecond, range(NANOSECONDS_PER_SECOND)),
    }
    if not is_time_zone(time.time_zone):
        ranges["TimeZone"] = (time.time_zone, MINUTES_OF_A_TIME_ZONE)
    if not is_daylight(time.daylight):
        ranges["Daylight"] = (time.daylight, range(_DAYLIGHT + 1))
    for name, (value, allowed) in ranges.items():
        if value not in allowed:
            raise EfiError(
                EfiStatus.INVALID_PARAMETER,
                f"{name}: expected {allowed.start} to {allowed.stop - 1}, found {value}",
            )
    _, days = monthrange(time.year, time.month)
    if not 1 <= time.day <= days:
        raise EfiError(EfiStatus.INVALID_PARAMETER, f"Day: expected 1 to {days}, found {time.day}")
