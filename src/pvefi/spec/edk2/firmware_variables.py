# SPDX-License-Identifier: GPL-2.0-or-later
"""Variables in which edk2's drivers keep what has to last, both non-volatile and for boot and runtime."""

from __future__ import annotations

from pvefi.layout import S16, U8, U32, Structure, layout

__all__ = [
    "MEMORY_TYPE_INFORMATION",
    "MTC",
    "RTC",
    "MemoryTypeInformation",
    "MonotonicCounter",
    "RealTimeClock",
]

MEMORY_TYPE_INFORMATION = "MemoryTypeInformation"
"""Of vendor EDK2_MEMORY_TYPE_INFORMATION — edk2 MdeModulePkg/Include/Guid/MemoryTypeInformation.h."""
MTC = "MTC"
"""Of vendor EDK2_MONOTONIC_COUNTER — edk2 MdeModulePkg/Include/Guid/MtcVendor.h."""
RTC = "RTC"
"""Of vendor EDK2_REAL_TIME_CLOCK — edk2 PcAtChipsetPkg/PcatRealTimeClockRuntimeDxe/PcRtc.c."""


@layout(size=4)
class MonotonicCounter(Structure):
    """MTC's data: the high half of the counter as it was last given out."""

    high: U32


@layout(size=4)
class RealTimeClock(Structure):
    """RTC's data: EFI_TIME's fields that PCs' clocks have no room for.

    The variable is absent for EFI_UNSPECIFIED_TIMEZONE without daylight.
    """

    time_zone: S16
    daylight: U8
    _pad: U8 = 0


@layout(size=8)
class MemoryTypeInformation(Structure):
    """One element of MemoryTypeInformation's data: how many pages the firmware sets aside for a type.

    The last one has a type that is none and no pages.
    """

    type: U32
    pages: U32
