# SPDX-License-Identifier: GPL-2.0-or-later
"""How a guest has set its clock: a variable of pvefi's own, see docs/environment.md."""

from __future__ import annotations

from pvefi.layout import S16, S64, U8, U32, Structure, layout

__all__ = ["CLOCK_OFFSET", "ClockOffset"]

CLOCK_OFFSET = "ClockOffset"
"""The variable's name, of vendor PVEFI_VARIABLE."""


@layout(size=16)
class ClockOffset(Structure):
    """ClockOffset's data: what to add to the host's clock, and the rest of EFI_TIME.

    `nanoseconds` is less than a second.
    """

    seconds: S64
    nanoseconds: U32
    time_zone: S16
    daylight: U8
    _pad: U8 = 0
