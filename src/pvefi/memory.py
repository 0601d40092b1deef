# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's physical memory as the host maps it, and the same memory through the guest's page tables.

Every address from a guest is untrusted: one that is no memory of the guest raises GuestFault, and nothing
is written elsewhere.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from pvefi.errors import GuestFault
from pvefi.spec.paging import (
    FRAME,
    LARGE_PAGES,
    PAGE_SHIFT,
    PAGE_SIZE_BIT,
    PRESENT,
    TABLE_SHIFT,
    levels,
)

__all__ = [
    "Backing",
    "GuardedMemory",
    "GuestMemory",
    "Memory",
    "NamedRange",
    "RamBlock",
    "Shown",
    "Source",
    "VirtualMemory",
    "describe",
]


_CHUNK = 1 << 20
_WORD = struct.Struct("<Q")
_LARGE = 1 << 16
"""Bytes from which on it pays to turn to a block's backing."""


Source = Callable[[Sequence[memoryview]], int]
"""Fills memory, view after view, as far as it can, and returns the number of bytes."""


class Memory(Protocol):
    """What services need of a guest's memory; addresses are the guest's own, physical or virtual."""

    def read(self, address: int, size: int) -> bytes:
        """Return `size` bytes at `address`; GuestFault where that is not memory."""
        ...

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """Store `data` at `address`; GuestFault, and nothing written, where that is not memory."""
        ...

    def storable(self, address: int, size: int) -> None:
        """Do nothing where `size` bytes may be stored at `address`, else GuestFault."""
        ...

    def contiguous(self, address: int) -> int:
        """Return how many bytes from `address` on can be reached without another look-up; 0 for none."""
        ...

    def take_in(self, address: int, size: int, source: Source) -> int:
        """Let `source` store up to `size` bytes at `address`, and return how many it did.

        GuestFault, and nothing stored, where that is not memory.
        """
        ...


@dataclass(frozen=True)
class NamedRange:
    """A range of guest physical addresses and what it is for, so that faults explain themselves."""

    name: str
    address: int
    size: int

    @cached_property
    def end(self) -> int:
        """The first address after the range."""
        return self.address + self.size


def describe(address: int, ranges: Iterable[NamedRange]) -> str:
    """Return "name+0x12 (0x800012)" for the innermost range that holds `address`, else the bare address."""
    inside = [one for one in ranges if one.address <= address < one.end]
    if not inside:
        return f"{address:#x}"
    best = min(inside, key=lambda one: one.size)
    return f"{best.name}+{address - best.address:#x} ({address:#x})"


class Backing(Protocol):
    """What RAM is made of, for those who fill or store much at once."""

    def written(self, offset: int, size: int) -> Iterable[tuple[int, int]]:
        """Return offset and size of the parts of a range that may hold anything else than zeroes."""
        ...

    def store(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Store `data`, sooner than a copy into memory that was never touched."""
        ...


class Shown(Protocol):
    """RAM of which the host maps only what somebody looks at; offsets are those of the block's view."""

    def reach(self, offset: int, size: int) -> tuple[int, int]:
        """Map `size` bytes at `offset`; GuestFault where the guest has none.

        Return the first and the one-past-last offset of what is mapped around them.
        """
        ...

    def forget(self) -> None:
        """Unmap everything; what is in the view then is nobody's."""
        ...


@dataclass(frozen=True)
class RamBlock:
    """A run of RAM: `view` is the host's writable mapping of what the guest sees at `address` (physical).

    `backing` is the same memory by other means, where there are any; offsets are those of the view. With
    `shown` there is only in the view what that has reached.
    """

    address: int
    view: memoryview
    backing: Backing | None = None
    shown: Shown | None = None

    @property
    def end(self) -> int:
        """The first guest physical address after the block."""
        return self.address + len(self.view)


class GuestMemory:
    """All RAM of one guest, by guest physical address."""

    def __init__(self, blocks: Iterable[RamBlock]) -> None:
        self.blocks = tuple(sorted(blocks, key=lambda block: block.address))
        self._starts = [block.address for block in self.blocks]
        self.size = sum(len(block.view) for block in self.blocks)
        self._recent = RamBlock(0, memoryview(b"")), 0, -1  # the block used last, and what of it is there

    def view(self, address: int, size: int) -> memoryview:
        """Return the `size` bytes at `address` themselves, writable; GuestFault unless all are RAM."""
        block, offset = self._place(address, size)
        return block.view[offset : offset + size]

    def _place(self, address: int, size: int) -> tuple[RamBlock, int]:
        """Return the block that holds the `size` bytes at `address`, and their offset in it."""
        block, start, end = self._recent
        if size < 0:
            raise GuestFault(f"{size:#x} bytes at guest physical {address:#x} are not all RAM")
        if not (start <= address and address + size <= end):
            index = bisect_right(self._starts, address) - 1
            if index < 0 or address + size > self.blocks[index].end:
                raise GuestFault(f"{size:#x} bytes at guest physical {address:#x} are not all RAM")
            block = self.blocks[index]
            start, end = 0, block.end - block.address
            if block.shown is not None:
                start, end = block.shown.reach(address - block.address, size)
            self._recent = block, block.address + start, block.address + end
        return block, address - block.address

    def read(self, address: int, size: int) -> bytes:
        """Return `size` bytes at `address`; GuestFault unless all are RAM."""
        block, offset = self._place(address, size)
        return block.view[offset : offset + size].tobytes()

    def word(self, address: int) -> int:
        """Return the 64-bit number at `address`; GuestFault unless it is RAM."""
        block, offset = self._place(address, 8)
        word: int = _WORD.unpack_from(block.view, offset)[0]
        return word

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """Store `data` at `address`; GuestFault, and nothing written, unless all of it is RAM."""
        block, offset = self._place(address, len(data))
        if len(data) >= _LARGE and block.backing is not None:
            block.backing.store(offset, data)
        else:
            block.view[offset : offset + len(data)] = data

    def storable(self, address: int, size: int) -> None:
        """Do nothing where `size` bytes at `address` are all RAM, else GuestFault."""
        self._place(address, size)

    def take_in(self, address: int, size: int, source: Source) -> int:
        """Let `source` store up to `size` bytes at `address`; GuestFault unless all are RAM."""
        return source((self.view(address, size),)) if size else 0

    def pieces(self, address: int, size: int) -> list[tuple[int, int]]:
        """Return guest physical address and size of what `size` bytes at `address` consist of."""
        return [(address, size)]

    @property
    def physical(self) -> GuestMemory:
        """What the pieces are pieces of."""
        return self

    def fill(self, address: int, size: int, value: int = 0) -> None:
        """Set `size` bytes at `address` to `value`; GuestFault unless all are RAM."""
        block, offset = self._place(address, size)
        parts: Iterable[tuple[int, int]] = ((offset, size),)
        if value == 0 and size >= _LARGE and block.backing is not None:
            parts = block.backing.written(offset, size)
        chunk = bytes([value]) * min(size, _CHUNK)
        for start, count in parts:
            for at in range(start, start + count, _CHUNK):
                part = block.view[at : min(at + _CHUNK, start + count)]
                part[:] = chunk[: len(part)]

    def contiguous(self, address: int) -> int:
        """Return how many bytes of RAM there are from `address` to the end of its block; 0 for none."""
        index = bisect_right(self._starts, address) - 1
        if index < 0 or address >= self.blocks[index].end:
            return 0
        block = self.blocks[index]
        if block.shown is None:
            return block.end - address
        try:
            return block.address + block.shown.reach(address - block.address, 1)[1] - address
        except GuestFault:
            return 0

    def forget(self) -> None:
        """Unmap what the host need not keep mapped; views of it that somebody has lead nowhere then."""
        self._recent = RamBlock(0, memoryview(b"")), 0, -1
        for block in self.blocks:
            if block.shown is not None:
                block.shown.forget()

    def release(self) -> None:
        """Let go of the host's mapping."""
        for block in self.blocks:
            block.view.release()


@dataclass(slots=True)
class VirtualMemory:
    """A guest's memory by guest virtual address, through the page tables at `cr3` (4 or 5 levels).

    With `steady`, for as long as the guest does nothing but wait, each page and page table is looked up once.
    """

    physical: GuestMemory
    cr3: int
    cr4: int
    steady: bool = False
    _known: dict[int, tuple[int, int]] = field(default_factory=dict)
    _tables: dict[int, int] = field(default_factory=dict)

    def translate(self, address: int) -> tuple[int, int]:
        """Return the guest physical address and the bytes left in its page; GuestFault where unmapped."""
        known = self._known.get(address >> PAGE_SHIFT)
        if known is None:
            known = self._look_up(address)
            if self.steady:
                self._known[address >> PAGE_SHIFT] = known
        page, size = known
        offset = address & size - 1
        return page | offset, size - offset

    def _look_up(self, address: int) -> tuple[int, int]:
        """Return where the page of `address` stands in guest physical memory, and its size."""
        table = self._tables.get(address >> TABLE_SHIFT)
        if table is not None:
            return self._last(table, address)
        table = self.cr3 & FRAME
        shifts = levels(self.cr4)
        # Intel SDM vol. 1 §3.3.7.1: all bits above the highest that is translated have to equal it.
        sign = address >> shifts[0] + 8
        if sign not in (0, (1 << 64 - shifts[0] - 8) - 1):
            raise GuestFault(f"guest virtual {address:#x} is not canonical")
        for shift in shifts:
            entry = self.physical.word(table + 8 * (address >> shift & 511))
            if not entry & PRESENT:
                raise GuestFault(f"guest virtual {address:#x} is not mapped")
            if entry & PAGE_SIZE_BIT and shift in LARGE_PAGES:
                return entry & FRAME & -(1 << shift), 1 << shift
            table = entry & FRAME
        if self.steady:
            self._tables[address >> TABLE_SHIFT] = table
        return self._last(table, address)

    def _last(self, table: int, address: int) -> tuple[int, int]:
        """Return what a page table of the last level has of `address`."""
        entry = self.physical.word(table + 8 * (address >> PAGE_SHIFT & 511))
        if not entry & PRESENT:
            raise GuestFault(f"guest virtual {address:#x} is not mapped")
        return entry & FRAME, 1 << PAGE_SHIFT

    def pieces(self, address: int, size: int) -> list[tuple[int, int]]:
        """Return guest physical address and size of the parts of `size` bytes at guest virtual `address`."""
        # Page tables may show one page at every address: without this, a size would be unbounded.
        if size > self.physical.size:
            raise GuestFault(f"{size:#x} bytes at guest virtual {address:#x} are more than the guest has")
        found = []
        while size > 0:
            physical, left = self.translate(address)
            count = size if size < left else left
            found.append((physical, count))
            address += count
            size -= count
        return found

    def read(self, address: int, size: int) -> bytes:
        """Return `size` bytes at guest virtual `address`; GuestFault where it is unmapped or not RAM."""
        if size > 0:
            physical, left = self.translate(address)
            if size <= left:
                return self.physical.read(physical, size)
        return b"".join([self.physical.read(at, count) for at, count in self.pieces(address, size)])

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """Store `data` at guest virtual `address`; GuestFault, and nothing written, where it cannot."""
        done, source = 0, memoryview(data)
        for view in self._views(address, len(data)):
            view[:] = source[done : done + len(view)]
            done += len(view)

    def take_in(self, address: int, size: int, source: Source) -> int:
        """Let `source` store up to `size` bytes at guest virtual `address`; GuestFault where it cannot."""
        return source(self._views(address, size))

    def _views(self, address: int, size: int) -> list[memoryview]:
        return [self.physical.view(at, count) for at, count in self.pieces(address, size)]

    def storable(self, address: int, size: int) -> None:
        """Do nothing where `size` bytes at guest virtual `address` are all mapped RAM, else GuestFault."""
        for at, count in self.pieces(address, size):
            self.physical.storable(at, count)

    def contiguous(self, address: int) -> int:
        """Return how many bytes from `address` on lie in one page; 0 where it is unmapped."""
        try:
            physical, left = self.translate(address)
        except GuestFault:
            return 0
        return min(left, self.physical.contiguous(physical))


class GuardedMemory:
    """Memory of which some `ranges` (guest physical) are pvefi's own: a store there is a GuestFault."""

    def __init__(self, memory: GuestMemory | VirtualMemory, ranges: Sequence[NamedRange]) -> None:
        self._memory = memory
        self._ranges = ranges

    def read(self, address: int, size: int) -> bytes:
        """Return `size` bytes at `address`; GuestFault where that is not memory."""
        return self._memory.read(address, size)

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """Store `data` at `address`; GuestFault, and nothing written, where that must not be."""
        self.storable(address, len(data))
        self._memory.write(address, data)

    def take_in(self, address: int, size: int, source: Source) -> int:
        """Let `source` store up to `size` bytes at `address`; GuestFault where that must not be."""
        self.storable(address, size)
        return self._memory.take_in(address, size, source)

    def storable(self, address: int, size: int) -> None:
        """Do nothing where `size` bytes may be stored at `address`, else GuestFault."""
        memory = self._memory
        for at, count in memory.pieces(address, size):
            for own in self._ranges:
                if at < own.end and own.address < at + count:
                    raise GuestFault(
                        f"{size:#x} bytes at {address:#x} would overwrite pvefi's own {own.name}"
                    )
            memory.physical.storable(at, count)

    def contiguous(self, address: int) -> int:
        """Return how many bytes from `address` on can be reached without another look-up; 0 for none."""
        return self._memory.contiguous(address)
