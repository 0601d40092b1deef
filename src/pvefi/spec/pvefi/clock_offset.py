# SPDX-License-Identifier: GPL-2.0-or-later
"""How far a guest has set its clock from the host's: a variable of pvefi's own, see docs/environment.md."""

from __future__ import annotations

from pvefi.layout import S64, U32, Structure, layout

__all__ = ["CLOCK_OFFSET", "ClockOffset"]

CLOCK_OFFSET = "ClockOffset"
"""The variable's name, of vendor PVEFI_VARIABLE."""


@layout(size=12)
class ClockOffset(Structure):
    """ClockOffset's data: what to add to the host's clock; `nanoseconds` is less than a second."""

    seconds: S64
    nanoseconds: U32
