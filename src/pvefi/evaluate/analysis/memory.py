# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's memory as maps: before and after ExitBootServices, and e820 by every way."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from pvefi.evaluate.analysis.facts import facts_of
from pvefi.evaluate.analysis.results import Way, document_of, of, short_names, shown, ways
from pvefi.evaluate.analysis.views import View, views
from pvefi.evaluate.document import Cell, Mark, Picture, PictureKind, Section, Table, cell
from pvefi.evaluate.run import Evaluation, ImageFacts
from pvefi.report.boot_document import HandoffDocument
from pvefi.report.memory_maps import e820_name
from pvefi.report.text import size_text
from pvefi.spec.linux.e820 import E820Entry
from pvefi.spec.uefi.memory import PAGE_SIZE
from pvefi.trace.spelling import spell
from pvefi.trace.values import Json

__all__ = ["memory_section"]

_IOMEM = "/proc/iomem"
_LINE = re.compile(r"( *)([0-9a-f]{1,16})-([0-9a-f]{1,16}) : (.{1,80})")
_LINES_AT_MOST = 2000
_SHOWN = re.compile(r"System RAM|Kernel (?:code|rodata|data|bss)|Reserved|ACPI")
"""Of /proc/iomem: what is memory; devices are not."""
_ROWS_AT_MOST = 300
_NOTHING = "-"


@dataclass(frozen=True)
class _Range:
    """Guest physical addresses from `start` up to and without `end`, and what is there."""

    start: int
    end: int
    type: str


def memory_section(evaluation: Evaluation) -> Section:
    """Return the maps of every kernel that was booted with EFI, and e820 by all ways."""
    parts: list[Table | Picture] = []
    for image in evaluation.images:
        parts += _picture(evaluation, image)
        parts += _beside(evaluation, image)
    text = [
        "Before: the EFI memory map as it stood at ExitBootServices. After: the e820 table that the kernel "
        "was given, and what it made of that.",
    ]
    if not parts:
        text.append("Not measured: no hand-off was recorded, and no kernel told its map.")
    return Section(
        "memory", "Memory before and after ExitBootServices", tuple(text), tuple(parts), short="Memory"
    )


def _picture(evaluation: Evaluation, image: ImageFacts) -> Iterator[Picture]:
    view = next((one for one in views(evaluation, image) if one.handoff and one.handoff.memory_map), None)
    if view is None or view.handoff is None:
        return
    panels = {
        "EFI map at ExitBootServices": _efi_ranges(view.handoff),
        "e820 as handed over": _e820_ranges(view.handoff.boot_params.memory_map),
    }
    running = _running(view)
    if running:
        panels["the running kernel"] = running
    top = max((one.end for one in panels["e820 as handed over"] if one.type == "usable"), default=0)
    panels = {panel: [one for one in ranges if one.start < top] for panel, ranges in panels.items()}
    records: list[Mapping[str, Json]] = [
        {"panel": panel, "start": one.start, "end": min(one.end, top), "type": one.type}
        for panel, ranges in panels.items()
        for one in ranges
    ]
    rows = tuple(
        (
            cell(panel),
            Cell(f"{one.start:#x}", one.start),
            Cell(f"{one.end - 1:#x}", one.end - 1),
            Cell(size_text(one.end - one.start), one.end - one.start),
            cell(one.type),
        )
        for panel, ranges in panels.items()
        for one in ranges[:_ROWS_AT_MOST]
    )
    title = f"{short_names(evaluation)[image.file.sha256]} by {view.entry} on {view.machine}"
    about = "Up to the end of RAM; what lies above, of devices, is left out."
    if running:
        about += " The running kernel's map is that of another boot, in which KASLR chose another place."
    table = Table(
        title, ("map", "first", "last", "size", "type"), rows, about, frozenset({1, 2, 3}), folded=True
    )
    yield Picture(title, PictureKind.MEMORY_MAPS, tuple(records), table, about)


def _efi_ranges(handoff: HandoffDocument) -> list[_Range]:
    found = [
        _Range(one.physical_start, one.physical_start + one.number_of_pages * PAGE_SIZE, spell(one.type))
        for one in handoff.memory_map
    ]
    return sorted(found, key=lambda one: one.start)


def _e820_ranges(entries: Iterable[E820Entry]) -> list[_Range]:
    found = [_Range(one.addr, one.addr + one.size, e820_name(one.type)) for one in entries if one.size]
    return sorted(found, key=lambda one: one.start)


def _running(view: View) -> list[_Range]:
    """Return what the kernel says of its memory, its own parts instead of the RAM that they lie in."""
    told = next((result.files[_IOMEM] for result in view.results if result.files.get(_IOMEM)), b"")
    ranges = []
    for line in told.decode("ascii", "replace").splitlines()[:_LINES_AT_MOST]:
        match = _LINE.fullmatch(line)
        if match and _SHOWN.match(match[4]):
            end = int(match[3], 16) + 1
            if end > 1:  # who may not see addresses sees zeroes
                ranges.append(_Range(int(match[2], 16), end, shown(match[4], 80)))
    bounds = sorted({bound for one in ranges for bound in (one.start, one.end)})
    found: list[_Range] = []
    for start, end in pairwise(bounds):
        here = [one for one in ranges if one.start <= start < one.end]
        if not here:
            continue
        kind = here[-1].type  # the innermost stands below what it lies in
        if found and (found[-1].end, found[-1].type) == (start, kind):
            found[-1] = _Range(found[-1].start, end, kind)
        else:
            found.append(_Range(start, end, kind))
    return found


def _beside(evaluation: Evaluation, image: ImageFacts) -> Iterator[Table]:
    """Yield a table for each machine: what e820 says of each interval, where not all ways say the same."""
    for machine in dict.fromkeys(way.machine for way in ways(evaluation, image)):
        maps = {
            way.entry: ranges
            for way in ways(evaluation, image)
            if way.machine == machine and (ranges := _e820(evaluation, image, way))
        }
        if len(maps) < 2:
            continue
        rows = list(_intervals(maps))
        name = short_names(evaluation)[image.file.sha256]
        yield Table(
            f"{name} on {machine}: e820 by entry",
            ("addresses", "size", *maps),
            tuple(rows[:_ROWS_AT_MOST]),
            "Intervals of which not all ways say the same; from the kernel's own copy, else as recorded.",
            frozenset({1}),
            folded=True,
        )


def _e820(evaluation: Evaluation, image: ImageFacts, way: Way) -> list[_Range]:
    results = of(evaluation, image, way)
    facts, document = facts_of(results), document_of(results)
    if facts is not None and facts.boot_params is not None:
        return _e820_ranges(facts.boot_params.memory_map)
    if document is not None and document.handoff is not None:
        return _e820_ranges(document.handoff.boot_params.memory_map)
    return []


def _intervals(maps: Mapping[str, Sequence[_Range]]) -> Iterator[tuple[Cell, ...]]:
    bounds = sorted({bound for ranges in maps.values() for one in ranges for bound in (one.start, one.end)})
    painted = [_painted(ranges, bounds) for ranges in maps.values()]
    digits = max(len(f"{bound - 1:x}") for bound in bounds)
    last: tuple[int, int, tuple[str, ...]] | None = None
    for at, (start, end) in enumerate([*pairwise(bounds), (0, 0)]):
        answers = tuple(one[at] for one in painted) if end else ()
        if last is not None and last[1] == start and last[2] == answers:
            last = (last[0], end, answers)
            continue
        if last is not None and len(set(last[2])) > 1:
            yield (
                cell(f"{last[0]:0{digits}x}-{last[1] - 1:0{digits}x}"),
                Cell(size_text(last[1] - last[0]), last[1] - last[0]),
                *(Cell(told, None, Mark.NONE if told == last[2][0] else Mark.DIFFERS) for told in last[2]),
            )
        last = (start, end, answers)


def _painted(ranges: Sequence[_Range], bounds: Sequence[int]) -> list[str]:
    told = [_NOTHING] * len(bounds)
    for one in ranges:
        for at in range(bisect_left(bounds, one.start), bisect_left(bounds, one.end)):
            told[at] = one.type
    return told
