# SPDX-License-Identifier: GPL-2.0-or-later
"""The monotonic counter — UEFI 2.10 §7.5.5, §8.5.2: a low half for the boot, a high half that lasts.

The specification has the high half raised at every reset. Here a boot raises it when it first asks for a
count: nobody can tell the difference by the counts, and a boot that never asks writes nothing.
"""

from __future__ import annotations

from pvefi.efi.environment import Environment
from pvefi.efi.errors import EfiError
from pvefi.efi.own_variables import next_high_count
from pvefi.efi.varstore.store import StoreError
from pvefi.spec.uefi.status import EfiStatus

__all__ = ["next_count", "raise_high_count"]

_LOW = (1 << 32) - 1


def next_count(efi: Environment) -> int:
    """Return the next count; EfiError DEVICE_ERROR when its high half cannot be kept."""
    last = efi.monotonic_count
    if last is None or last & _LOW == _LOW:
        return raise_high_count(efi) << 32
    efi.monotonic_count = last + 1
    return last + 1


def raise_high_count(efi: Environment) -> int:
    """Return the high half, raised, while the low one starts again; EfiError as `next_count()`."""
    try:
        high = next_high_count(efi.surroundings.kept.variables)
    except StoreError as error:
        raise EfiError(EfiStatus.DEVICE_ERROR, error.message) from error
    if high is None:
        raise EfiError(EfiStatus.DEVICE_ERROR, "the counter has run out of counts")
    efi.monotonic_count = high << 32
    return high
