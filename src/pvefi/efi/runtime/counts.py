# SPDX-License-Identifier: GPL-2.0-or-later
"""The high half of the monotonic counter — UEFI 2.10 §8.5.2."""

from __future__ import annotations

from pvefi.efi.environment import Environment
from pvefi.efi.monotonic_count import raise_high_count
from pvefi.efi.service import UINT32, Out, service

__all__ = ["get_next_high_monotonic_count"]


@service("GetNextHighMonotonicCount", "UEFI 2.10 §8.5.2")
def get_next_high_monotonic_count(efi: Environment, high_count: Out[UINT32]) -> None:
    """Store the high half of the monotonic counter, raised by one; the low half starts again.

    INVALID_PARAMETER: `high_count` is NULL. DEVICE_ERROR: it cannot be kept.
    """
    high_count.set(raise_high_count(efi))
