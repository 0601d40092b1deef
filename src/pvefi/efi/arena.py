# SPDX-License-Identifier: GPL-2.0-or-later
"""Places the environment's own structures in a stretch of guest memory that is set aside for them."""

from __future__ import annotations

from pvefi.errors import GuestFault
from pvefi.memory import GuestMemory, NamedRange

__all__ = ["Arena"]


class Arena:
    """Guest physical memory from `start` up to, not including, `end`, handed out once and named."""

    def __init__(self, memory: GuestMemory, start: int, end: int) -> None:
        self._memory = memory
        self._next = start
        self._end = end
        self._ranges: list[NamedRange] = []

    @property
    def ranges(self) -> tuple[NamedRange, ...]:
        """Everything placed so far, by name."""
        return tuple(self._ranges)

    def reserve(self, name: str, size: int, *, alignment: int = 16) -> int:
        """Return the guest physical address of `size` zeroed bytes; GuestFault when the arena is full."""
        address = -(-self._next // alignment) * alignment
        if address + size > self._end:
            raise GuestFault(f"no {size:#x} bytes left for {name} in the arena that ends at {self._end:#x}")
        self._memory.fill(address, size)
        self._next = address + size
        self._ranges.append(NamedRange(name, address, size))
        return address

    def place(self, name: str, data: bytes, *, alignment: int = 16) -> int:
        """Write `data` and return its guest physical address; GuestFault when the arena is full."""
        address = self.reserve(name, len(data), alignment=alignment)
        self._memory.write(address, data)
        return address
