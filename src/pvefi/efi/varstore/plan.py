# SPDX-License-Identifier: GPL-2.0-or-later
"""What is to be written to flash memory, in which order, and where it has to last before going on."""

from __future__ import annotations

from dataclasses import dataclass, field

from pvefi.efi.varstore.medium import Medium
from pvefi.spec.edk2.variable_store import ERASED

__all__ = ["Plan", "Writer", "erased"]

Step = tuple[int, bytes] | None  # a write, or None: all before lasts before what follows begins


def erased(size: int) -> bytes:
    """Return erased flash."""
    return bytes((ERASED,)) * size


@dataclass
class Plan:
    """Steps that are done to `image` at once, and to a medium later."""

    image: bytearray
    steps: list[Step] = field(default_factory=list)

    def write(self, offset: int, data: bytes) -> None:
        """Write `data`."""
        self.image[offset : offset + len(data)] = data
        self.steps.append((offset, data))

    def mask(self, offset: int, mask: int) -> None:
        """And the byte at `offset` with `mask`: flash goes from one state to the next by clearing bits."""
        if (value := self.image[offset] & mask) != self.image[offset]:
            self.write(offset, bytes((value,)))

    def clear(self, offset: int, bits: int) -> None:
        """Clear `bits` of the byte at `offset`."""
        self.mask(offset, ~bits & 0xFF)

    def sync(self) -> None:
        """Have all before this last before what follows begins."""
        self.steps.append(None)


class Writer:
    """Carries plans out on a medium, and knows what of them does not last yet."""

    def __init__(self, medium: Medium) -> None:
        self._medium = medium
        self._unsynced: list[tuple[int, bytes]] = []

    @property
    def all_lasts(self) -> bool:
        """Whether everything that was written lasts."""
        return not self._unsynced

    def carry_out(self, plan: Plan) -> None:
        """Do all of `plan`; StoreError when that fails, with the rest left undone."""
        for step in plan.steps:
            if step is None:
                self._medium.sync()
                self._unsynced.clear()
            else:
                self._medium.write(*step)
                self._unsynced.append(step)

    def settle(self) -> None:
        """Have all last that was written; StoreError when that fails.

        It is written again: after a failed fsync(2) Linux shows what it could not write as if it had.
        """
        for step in self._unsynced:
            self._medium.write(*step)
        self._medium.sync()
        self._unsynced.clear()
