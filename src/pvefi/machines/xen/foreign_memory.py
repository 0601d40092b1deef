# SPDX-License-Identifier: GPL-2.0-or-later
"""The memory of a domain, mapped piece by piece where somebody looks at it.

A guest may give pages back to Xen at any time. What is mapped of such a page is no memory of the guest's any
more, and Xen keeps it from others for as long as it is mapped: so everything is let go of when the guest has
done so, and when boot services have ended.
"""

from __future__ import annotations

from collections.abc import Iterable

from pvefi.errors import GuestFault, MachineError
from pvefi.machines.xen.libraries import PAGE_SIZE, ForeignMemory, Libraries
from pvefi.memory import GuestMemory, RamBlock
from pvefi.spec.xen.start_info import HvmMemmapTableEntry, MemmapType

__all__ = ["DomainMemory"]

_FOUR_GIB = 4 << 30
_PIECE = 64
"""Pages that are mapped together: what an image or a table takes more than one of."""


class _Shown:
    """Addresses for `size` bytes of a domain's memory from guest physical `address` on; see `Shown`."""

    def __init__(
        self, libraries: Libraries, foreign: ForeignMemory, domid: int, address: int, size: int
    ) -> None:
        self._foreign: ForeignMemory | None = foreign
        self._domid = domid
        self._first = address // PAGE_SIZE
        self._window = libraries.window(size)
        self._there = bytearray(size // PAGE_SIZE)
        self.block = RamBlock(address, self._window.view, shown=self)

    def reach(self, offset: int, size: int) -> tuple[int, int]:
        """Map what is not mapped yet; see `Shown.reach`."""
        first, last = offset // PAGE_SIZE, (offset + max(size, 1) - 1) // PAGE_SIZE
        if self._there.find(0, first, last + 1) >= 0:
            self._map(first // _PIECE * _PIECE, min(last // _PIECE * _PIECE + _PIECE, len(self._there)))
        if (missing := self._there.find(0, first, last + 1)) >= 0:
            at = (self._first + missing) * PAGE_SIZE
            raise GuestFault(f"guest physical {at:#x} is no memory, or the guest has given it back")
        low, high = max(0, first - _PIECE), min(last + 1 + _PIECE, len(self._there))
        start, end = self._there.rfind(0, low, first) + 1, self._there.find(0, last, high)
        return (start or low) * PAGE_SIZE, (high if end < 0 else end) * PAGE_SIZE

    def _map(self, page: int, end: int) -> None:
        """Map those of a run of pages that are not mapped; those that cannot be stay away."""
        there = self._there
        while (page := there.find(0, page, end)) >= 0:
            stop = there.find(1, page, end)
            stop = end if stop < 0 else stop
            if self._foreign is None:
                raise GuestFault(f"domain {self._domid} is left to itself: its memory is not looked at")
            try:
                errors = self._foreign.show(
                    self._window, page * PAGE_SIZE, self._domid, self._first + page, stop - page
                )
            except MachineError as error:
                raise GuestFault(error.message) from error
            there[page:stop] = bytes(not number for number in errors)
            page = stop

    def forget(self) -> None:
        """Unmap everything; see `Shown.forget`."""
        if 1 in self._there:
            self._window.clear(0, self._window.size)
            self._there = bytearray(len(self._there))

    def close(self) -> None:
        """Unmap everything, and map nothing any more."""
        self.forget()
        self._foreign = None

    @property
    def mapped(self) -> int:
        """Bytes that are mapped now."""
        return self._there.count(1) * PAGE_SIZE


class DomainMemory:
    """All memory of domain `domid`, `size` bytes; until `place` that is what lies below `size` and 4 GiB."""

    def __init__(self, libraries: Libraries, domid: int, size: int) -> None:
        self._libraries = libraries
        self._domid = domid
        self._end = _FOUR_GIB + size
        self._foreign = libraries.foreign_memory()
        self._low = self._show(0, min(size, _FOUR_GIB))
        self._high: _Shown | None = None
        self._parts: list[tuple[_Shown, GuestMemory]] = []
        self.memory = GuestMemory([self._low.block])

    def part(self, address: int, size: int) -> GuestMemory:
        """Return the `size` bytes at guest physical `address`, whole pages, for somebody's own use.

        A view of them stays good: after `forget` it shows the guest's memory again once that is reached.
        """
        shown = self._show(address, size)
        memory = GuestMemory([shown.block])
        self._parts.append((shown, memory))
        return memory

    def _show(self, address: int, size: int) -> _Shown:
        whole = size // PAGE_SIZE * PAGE_SIZE
        return _Shown(self._libraries, self._foreign, self._domid, address, whole)

    def place(self, memory_map: Iterable[HvmMemmapTableEntry]) -> GuestMemory:
        """Return all memory that the guest's own `memory_map` calls RAM, from the first to the last of it.

        What lies between, and is none, is found out when somebody looks at it. GuestFault for a map of more
        memory than Xen has given to the domain: what it costs to look at it would be the guest's choice.
        """
        ends = [entry.addr + entry.size for entry in memory_map if entry.type == MemmapType.RAM]
        if (end := max(ends, default=0)) > self._end:
            raise GuestFault(
                f"expected a memory map that ends below {self._end:#x}, found one with RAM up to {end:#x}"
            )
        low = max((end for end in ends if end <= _FOUR_GIB), default=0)
        high = max((end for end in ends if end > _FOUR_GIB), default=0)
        if low > self._low.block.end:
            self._low.close()
            self._low = self._show(0, low)
        blocks = [self._low.block]
        if self._high is not None:
            self._high.close()
            self._high = None
        if high:
            self._high = self._show(_FOUR_GIB, high - _FOUR_GIB)
            blocks.append(self._high.block)
        self.memory = GuestMemory(blocks)
        return self.memory

    @property
    def mapped(self) -> int:
        """Bytes that are mapped now."""
        return sum(shown.mapped for shown in self._all())

    def _all(self) -> list[_Shown]:
        high = [self._high] if self._high else []
        return [self._low, *high, *(shown for shown, _ in self._parts)]

    def forget(self) -> None:
        """Unmap everything, until somebody looks at it again."""
        self.memory.forget()
        for _, memory in self._parts:
            memory.forget()

    def close(self) -> None:
        """Unmap everything for good: a domain whose memory somebody maps cannot die."""
        self.forget()
        for shown in self._all():
            shown.close()
        self._foreign.close()
