# SPDX-License-Identifier: GPL-2.0-or-later
"""What the page tables in force let the kernel do with its own segments when it gets control.

There it stands where it was loaded, and runs at its physical addresses; it has no mapping at the virtual ones
that it was linked for yet. W^X holds of a segment of which no byte is writable and executable at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pvefi.errors import GuestFault
from pvefi.image.vmlinux import LoadSegment
from pvefi.memory import GuestMemory
from pvefi.spec.paging import (
    CR0_PAGING,
    CR0_WRITE_PROTECT,
    EFER_LONG_MODE_ACTIVE,
    EFER_NO_EXECUTE,
    ENTRIES,
    FRAME,
    LARGE_PAGES,
    NO_EXECUTE,
    PAGE_SHIFT,
    PAGE_SIZE_BIT,
    PRESENT,
    WRITABLE,
    levels,
)
from pvefi.verdict import SegmentMapping

__all__ = ["segment_mappings"]

_SEGMENTS_AT_MOST = 64


def segment_mappings(
    memory: GuestMemory, registers: Mapping[str, int], segments: Iterable[LoadSegment], slide: int
) -> tuple[SegmentMapping, ...]:
    """Return how each segment of a vmlinux that was moved by `slide` bytes is mapped one to one.

    `registers` are those at the hand-off. Nothing is returned where there are no page tables of 64-bit mode.
    """
    cr0, efer = registers.get("cr0", 0), registers.get("efer", 0)
    if not cr0 & CR0_PAGING or not efer & EFER_LONG_MODE_ACTIVE:
        return ()
    found = []
    left = memory.size  # a file may tell of segments that no guest has room for
    for segment in list(segments)[:_SEGMENTS_AT_MOST]:
        start, size = segment.physical_address + slide, min(segment.memory_size, left)
        left -= size
        sums = {"mapped": 0, "writable": 0, "executable": 0, "both": 0}
        at = start
        while at < start + size:
            entries, page = _entries(memory, registers.get("cr3", 0), registers.get("cr4", 0), at)
            count = min((at & -page) + page, start + size) - at
            if entries and _frame(entries[-1], page) == at & -page:
                writes = not cr0 & CR0_WRITE_PROTECT or all(entry & WRITABLE for entry in entries)
                runs = not efer & EFER_NO_EXECUTE or not any(entry & NO_EXECUTE for entry in entries)
                sums["mapped"] += count
                sums["writable"] += count * writes
                sums["executable"] += count * runs
                sums["both"] += count * (writes and runs)
            at += count
        found.append(SegmentMapping(start, size, segment.permissions, **sums))
    return tuple(found)


def _frame(entry: int, page: int) -> int:
    return entry & FRAME & -page


def _entries(memory: GuestMemory, cr3: int, cr4: int, address: int) -> tuple[list[int], int]:
    """Return the entries on the way to the page of `address`, and its size; no entries where it is unmapped.

    The size then is that of what is unmapped at once.
    """
    table, entries = cr3 & FRAME, []
    for shift in (*levels(cr4), PAGE_SHIFT):
        try:
            entry = memory.word(table + 8 * (address >> shift & ENTRIES - 1))
        except GuestFault:
            return [], 1 << shift
        if not entry & PRESENT:
            return [], 1 << shift
        entries.append(entry)
        if shift == PAGE_SHIFT or (entry & PAGE_SIZE_BIT and shift in LARGE_PAGES):
            return entries, 1 << shift
        table = entry & FRAME
    raise AssertionError("the last level has pages")
