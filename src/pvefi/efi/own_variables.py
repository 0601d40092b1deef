# SPDX-License-Identifier: GPL-2.0-or-later
"""What the firmware itself has to remember, in non-volatile variables of its own.

Those of edk2 have edk2's names and formats, so that OVMF goes on where pvefi left off, and the other way
round. A guest sees all of them, and changes none. What a store holds under these names may be anything:
what makes no sense counts as absent.

How the clock is set is one variable, so that it changes as a whole. edk2's RTC repeats the half of it that
OVMF understands. It is read only where ours is absent: what differs may be OVMF's, or left over by a crash,
and a time zone without the hour that was set with it would tell another time.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from pvefi.efi.varstore.store import StoreError, Variable, VariableStore
from pvefi.layout import Guid, Structure
from pvefi.spec.edk2.firmware_variables import MTC, RTC, MonotonicCounter, RealTimeClock
from pvefi.spec.edk2.secure_boot import (
    CERTIFICATE_DATABASE,
    CUSTOM_MODE,
    SECURE_BOOT_ENABLE,
    VENDOR_KEYS_NV,
    VOLATILE_CERTIFICATE_DATABASE,
)
from pvefi.spec.pvefi.variables import CLOCK_OFFSET, ClockOffset
from pvefi.spec.uefi import guids
from pvefi.spec.uefi.time import (
    EFI_UNSPECIFIED_TIMEZONE,
    NANOSECONDS_PER_SECOND,
    is_daylight,
    is_time_zone,
)
from pvefi.spec.uefi.variables import ACCESS, VariableAttribute

__all__ = [
    "ClockSetting",
    "is_own",
    "keep_clock_setting",
    "needs_presence",
    "next_high_count",
    "read_clock_setting",
]

_MTC = (MTC, guids.EDK2_MONOTONIC_COUNTER)
_RTC = (RTC, guids.EDK2_REAL_TIME_CLOCK)
_OFFSET = (CLOCK_OFFSET, guids.PVEFI_VARIABLE)
_OWN = frozenset(
    {
        _MTC,
        _RTC,
        # mAuthVarEntry in edk2 SecurityPkg/Library/AuthVariableLib/AuthVariableLib.c
        (CERTIFICATE_DATABASE, guids.EDK2_CERT_DB),
        (VOLATILE_CERTIFICATE_DATABASE, guids.EDK2_CERT_DB),
        (VENDOR_KEYS_NV, guids.EDK2_VENDOR_KEYS_NV),
    }
)
# What edk2 changes only for a user who is physically present (NeedPhysicallyPresent in edk2
# SecurityPkg/Library/AuthVariableLib/AuthService.c), which nobody is here.
_NEEDS_PRESENCE = frozenset(
    {
        (SECURE_BOOT_ENABLE, guids.EDK2_SECURE_BOOT_ENABLE),
        (CUSTOM_MODE, guids.EDK2_CUSTOM_MODE),
    }
)
_ATTRIBUTES = VariableAttribute.NON_VOLATILE | ACCESS
_HIGHEST = (1 << 32) - 1

S = TypeVar("S", bound=Structure)


def is_own(name: str, vendor: Guid) -> bool:
    """Whether the variable is kept for what the firmware itself has to remember."""
    return (name, vendor) in _OWN or vendor == guids.PVEFI_VARIABLE


def needs_presence(name: str, vendor: Guid) -> bool:
    """Whether only a user who is physically present may change the variable."""
    return (name, vendor) in _NEEDS_PRESENCE


@dataclass(frozen=True)
class ClockSetting:
    """What SetTime() left: `offset`, in nanoseconds, is how far the guest's clock is ahead of the host's."""

    offset: int = 0
    time_zone: int = EFI_UNSPECIFIED_TIMEZONE
    daylight: int = 0


def read_clock_setting(store: VariableStore) -> ClockSetting:
    """Return how the guest's clock is set; that of a guest that never did shows the host's."""
    ours = _read(store, _OFFSET, ClockOffset)
    if ours is not None and ours.nanoseconds < NANOSECONDS_PER_SECOND and _is_sound(ours):
        offset = ours.seconds * NANOSECONDS_PER_SECOND + ours.nanoseconds
        return ClockSetting(offset, ours.time_zone, ours.daylight)
    theirs = _read(store, _RTC, RealTimeClock)
    if theirs is not None and _is_sound(theirs):
        return ClockSetting(0, theirs.time_zone, theirs.daylight)
    return ClockSetting()


def _is_sound(clock: ClockOffset | RealTimeClock) -> bool:
    return is_time_zone(clock.time_zone) and is_daylight(clock.daylight)


def keep_clock_setting(store: VariableStore, setting: ClockSetting) -> None:
    """Keep how the clock is set from now on; StoreError when that fails: it is as before, or as asked."""
    ahead = divmod(setting.offset, NANOSECONDS_PER_SECOND)
    _put(store, _OFFSET, ClockOffset(*ahead, setting.time_zone, setting.daylight))
    with suppress(StoreError):  # the clock is set; OVMF alone would tell another time zone
        if (setting.time_zone, setting.daylight) != (EFI_UNSPECIFIED_TIMEZONE, 0):
            _put(store, _RTC, RealTimeClock(setting.time_zone, setting.daylight))
        elif store.get(*_RTC) is not None:
            store.remove(*_RTC)


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
