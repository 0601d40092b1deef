# SPDX-License-Identifier: GPL-2.0-or-later
"""The variables of pvefi's own, of vendor PVEFI_VARIABLE, for what no other firmware's has a place for.

docs/environment.md and docs/variables.md say what they do.
"""

from __future__ import annotations

from enum import IntEnum

from pvefi.layout import S16, S64, U8, U32, Structure, layout

__all__ = ["CLOCK_OFFSET", "SECURE_BOOT_MODE", "ClockOffset", "StoredMode"]

SECURE_BOOT_MODE = "SecureBootMode"
"""One byte, a StoredMode; absent in setup mode and in user mode."""


class StoredMode(IntEnum):
    """Which of the modes of Secure Boot the presence of PK alone does not tell."""

    AUDIT = 1  # counts while there is no PK
    DEPLOYED = 2  # counts while there is one
    TO_AUDIT = 3  # as AUDIT while there is no PK; while there is one, nothing has changed yet


CLOCK_OFFSET = "ClockOffset"
"""How a guest has set its clock: a ClockOffset."""


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
