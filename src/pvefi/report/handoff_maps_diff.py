# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory maps of two hand-offs compared by interval: what one says of it, what the other says."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from pvefi.report.boot_document import HandoffDocument
from pvefi.report.handoff_row import ELSEWHERE, Places, Row
from pvefi.report.memory_maps import attribute_names, e820_name
from pvefi.report.text import size_text
from pvefi.spec.uefi.memory import PAGE_SIZE, MemoryDescriptor
from pvefi.trace.spelling import spell

__all__ = ["e820_rows", "efi_map_rows"]

_E820 = "e820"
_EFI_MAP = "EFI memory map"
_NOTHING = "-"
_FREE = "EfiConventionalMemory"


@dataclass(frozen=True)
class _Entry:
    """One entry of a map: addresses from `start` up to and without `end`."""

    start: int
    end: int
    label: str


@dataclass(frozen=True)
class _Interval:
    start: int
    end: int
    a: str
    b: str


def e820_rows(a: HandoffDocument, b: HandoffDocument, places: Places) -> list[Row]:
    """Return the rows of the e820 tables in boot_params."""
    tables = [
        [_Entry(one.addr, one.addr + one.size, e820_name(one.type)) for one in side.boot_params.memory_map]
        for side in (a, b)
    ]
    return _rows(_E820, "entries", tables[0], tables[1], places, ("usable",))


def efi_map_rows(a: HandoffDocument, b: HandoffDocument, places: Places) -> list[Row]:
    """Return the rows of the EFI memory maps; attributes are told where types are equal and they are not."""
    tables = [[_efi_entry(one) for one in side.memory_map] for side in (a, b)]
    free = tuple(entry.label for table in tables for entry in table if entry.label.startswith(_FREE))
    return _rows(_EFI_MAP, "descriptors", tables[0], tables[1], places, free)


def _efi_entry(one: MemoryDescriptor) -> _Entry:
    label = f"{spell(one.type)} {attribute_names(one)}"
    if one.virtual_start:
        label += f" at {one.virtual_start:#x}"
    return _Entry(one.physical_start, one.physical_start + one.number_of_pages * PAGE_SIZE, label)


def _rows(
    section: str,
    unit: str,
    a: Sequence[_Entry],
    b: Sequence[_Entry],
    places: Places,
    free: Sequence[str],
) -> list[Row]:
    counts = Row(section, unit, (len(a), len(b)), (f"{len(a) or 'none'}", f"{len(b) or 'none'}"))
    if not a or not b:
        return [counts] if a or b else []
    digits = max(len(f"{entry.end - 1:x}") for entry in (*a, *b))
    rows = [_interval_row(section, one, digits, places, free) for one in _intervals(a, b)]
    return [counts, *rows, *_totals(section, a, b)]


def _interval_row(
    section: str,
    one: _Interval,
    digits: int,
    places: Places,
    free: Sequence[str],
) -> Row:
    name = f"{one.start:0{digits}x}-{one.end - 1:0{digits}x}"
    meaning = size_text(one.end - one.start)
    row = Row(section, name, (one.a, one.b), _apart(one.a, one.b), meaning)
    if row.equal:
        return row
    inside = [side.inside(one.start, one.end) for side in places]
    told = [f"{side}: {', '.join(names)}" for side, names in zip("AB", inside, strict=True) if names]
    moved = bool(told) and all(
        (names or label in free) and all(_alike(name, places) for name in names)
        for names, label in zip(inside, (one.a, one.b), strict=True)
    )
    return replace(row, apart="; ".join(told), moved=ELSEWHERE if moved else "")


def _alike(name: str, places: Places) -> bool:
    """Whether both sides have this, in memory of the same type."""
    types = [side.types.get(name) for side in places]
    return types[0] is not None and types[0] == types[1]


def _apart(a: str, b: str) -> tuple[str, str]:
    """Return labels without the attributes when the types alone differ."""
    kinds = [" + ".join(part.partition(" ")[0] for part in label.split(" + ")) for label in (a, b)]
    both_efi = all(label.startswith("Efi") or label == _NOTHING for label in (a, b))
    return (kinds[0], kinds[1]) if both_efi and kinds[0] != kinds[1] else (a, b)


def _intervals(a: Sequence[_Entry], b: Sequence[_Entry]) -> Iterator[_Interval]:
    """Yield the longest intervals in which both maps have one answer, by address."""
    bounds = sorted(
        {bound for entry in (*a, *b) if entry.end > entry.start for bound in (entry.start, entry.end)}
    )
    painted = [_painted(table, bounds) for table in (a, b)]
    last: _Interval | None = None
    for at, (start, end) in enumerate(pairwise(bounds)):
        answers = painted[0][at], painted[1][at]
        if answers == (_NOTHING, _NOTHING):
            continue
        if last is not None and last.end == start and (last.a, last.b) == answers:
            last = replace(last, end=end)
            continue
        if last is not None:
            yield last
        last = _Interval(start, end, *answers)
    if last is not None:
        yield last


def _painted(table: Sequence[_Entry], bounds: Sequence[int]) -> list[str]:
    cells: list[list[str]] = [[] for _ in bounds]
    for entry in table:
        for at in range(bisect_left(bounds, entry.start), bisect_left(bounds, entry.end)):
            cells[at].append(entry.label)
    return [" + ".join(cell) or _NOTHING for cell in cells]


def _totals(section: str, a: Sequence[_Entry], b: Sequence[_Entry]) -> Iterator[Row]:
    """Yield for each type how much memory it has in all."""
    sums = [Counter[str](), Counter[str]()]
    for table, total in zip((a, b), sums, strict=True):
        for entry in table:
            total[entry.label.partition(" ")[0] if section == _EFI_MAP else entry.label] += max(
                entry.end - entry.start, 0
            )
    for kind in sums[0] | sums[1]:
        one, two = sums[0][kind], sums[1][kind]
        more = "B" if two > one else "A"
        apart = f"{more} has {size_text(abs(two - one))} more"
        yield Row(f"{section} by type", kind, (one, two), (f"{one:,}", f"{two:,}"), "bytes", apart=apart)
