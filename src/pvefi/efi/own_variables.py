# SPDX-License-Identifier: GPL-2.0-or-later
"""What the firmware itself has to remember, in non-volatile variables of its own.

Those of edk2 have edk2's names and formats, so that OVMF goes on where pvefi left off, and the other way
round. A guest sees all of them, and changes none. What a store holds under these names may be anything:
what makes no sense counts as absent.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from pvefi.efi.varstore.store import StoreError, Variable, VariableStore
from pvefi.layout import Guid, Structure
from pvefi.spec.edk2.firmware_variables import MTC, RTC, MonotonicCounter, RealTimeClock
from pvefi.spec.pvefi.clock_offset import CLOCK_OFFSET, ClockOffset
from pvefi.spec.uefi import guids
from pvefi.spec.uefi.time import (
    EFI_UNSPECIFIED_TIMEZONE,
    NANOSECONDS_PER_SECOND,
    is_daylight,
    is_time_zone,
)
from pvefi.spec.uefi.variables import VariableAttribute

__all__ = ["ClockSetting", "is_own", "keep_clock_setting", "next_high_count", "read_clock_setting"]

_MTC = (MTC, guids.EDK2_MONOTONIC_COUNTER)
_RTC = (RTC, guids.EDK2_REAL_TIME_CLOCK)
_OFFSET = (CLOCK_OFFSET, guids.PVEFI_VARIABLE)
_OWN = frozenset({_MTC, _RTC, _OFFSET})
_ATTRIBUTES = (
    VariableAttribute.NON_VOLATILE | VariableAttribute.BOOTSERVICE_ACCESS | VariableAttribute.RUNTIME_ACCESS
)
_HIGHEST = (1 << 32) - 1

S = TypeVar("S", bound=Structure)


def is_own(name: str, vendor: Guid) -> bool:
    """Whether the variable is kept for what the firmware itself has to remember."""
    return (name, vendor) in _OWN or vendor == guids.PVEFI_VARIABLE


@dataclass(frozen=True)
class ClockSetting:
    """What SetTime() left: `offset`, in nanoseconds, is how far the guest's clock is ahead of the host's."""

    offset: int = 0
    time_zone: int = EFI_UNSPECIFIED_TIMEZONE
    daylight: int = 0


def read_clock_setting(store: VariableStore) -> ClockSetting:
    """Return how the guest's clock is set; that of a guest that never did shows the host's."""
    ahead = _read(store, _OFFSET, ClockOffset)
    offset = 0
    if ahead is not None and ahead.nanoseconds < NANOSECONDS_PER_SECOND:
        offset = ahead.seconds * NANOSECONDS_PER_SECOND + ahead.nanoseconds
    rest = _read(store, _RTC, RealTimeClock)
    if rest is None or not is_time_zone(rest.time_zone) or not is_daylight(rest.daylight):
        return ClockSetting(offset)
    return ClockSetting(offset, rest.time_zone, rest.daylight)


def keep_clock_setting(store: VariableStore, setting: ClockSetting) -> None:
    """Keep how the clock is set from now on; StoreError when that fails, and it stays as it was."""
    before = store.get(*_OFFSET)
    _put(store, _OFFSET, ClockOffset(*divmod(setting.offset, NANOSECONDS_PER_SECOND)))
    try:
        if (setting.time_zone, setting.daylight) != (EFI_UNSPECIFIED_TIMEZONE, 0):
            _put(store, _RTC, RealTimeClock(setting.time_zone, setting.daylight))
        elif store.get(*_RTC) is not None:
            store.remove(*_RTC)
    except StoreError:
        with suppress(StoreError):  # a store that fails once more has nothing better to offer
            if before is None:
                store.remove(*_OFFSET)
            else:
                store.put(before)
        raise


def next_high_count(store: VariableStore) -> int | None:
    """Return the high half of the monotonic counter, never given out before; None when there is no higher.

    It is kept before it is returned, so that not even a crash makes it come again; StoreError when it cannot.
    """
    last = _read(store, _MTC, MonotonicCounter)
    high = 1 if last is None else last.high + 1
    if high > _HIGHEST:
        return None
    _put(store, _MTC, MonotonicCounter(high))
    return high


def _read(store: VariableStore, key: tuple[str, Guid], kind: type[S]) -> S | None:
    found = store.get(*key)
    return None if found is None or len(found.data) != kind.SIZE else kind.unpack(found.data)


def _put(store: VariableStore, key: tuple[str, Guid], value: Structure) -> None:
    store.put(Variable(*key, _ATTRIBUTES, value.pack()))
