# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory maps laid out side by side so that a page is seen beside 480 MiB.

Every address at which some map changes is a line through all of them. What lies between two lines is as high
as the logarithm of its size, and never lower than a name. So heights do not compare; sizes are written.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from types import MappingProxyType

from pvefi.evaluate.report.plain import plain
from pvefi.report.text import size_text
from pvefi.trace.values import Json

__all__ = ["KINDS", "Strip", "Strips", "kind_of", "strips_of"]

KINDS: Mapping[str, str] = MappingProxyType(
    {
        "free": "c0",
        "reserved": "c7",
        "loader code": "c1",
        "loader data": "c9",
        "boot services": "c4",
        "runtime services": "c5",
        "ACPI tables": "c6",
        "ACPI NVS": "c11",
        "devices": "c2",
        "kernel": "c3",
        "anything else": "c10",
    }
)
"""What memory is used for, and its colour: the same in every map, whatever words a map has for it."""

# Words for it, in small letters: of UEFI 2.10 §7.2.1, of E820 tables, and of Linux's /proc/iomem.
_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "nvs": "ACPI NVS",
        "non-volatile": "ACPI NVS",
        "acpi": "ACPI tables",
        "bootservices": "boot services",
        "runtimeservices": "runtime services",
        "loadercode": "loader code",
        "loaderdata": "loader data",
        "mappedio": "devices",
        "kernel ": "kernel",
        "reserved": "reserved",
        "conventional": "free",
        "usable": "free",
        "system ram": "free",
    }
)

_LEAST = 14
"""Pixels of what is smallest, while there is room: a line of text."""
_MOST = 1600
"""Pixels of all, about: more ranges than this has lines for lose their names."""
_LABEL = 10
_HOLE = 12
_PAGE = 4096
_NAME = 40


@dataclass(frozen=True)
class Strip:
    """One range of one map: what it is, and where it stands, in pixels from the top.

    `kind` is one of KINDS.
    """

    panel: str
    type: str
    kind: str
    top: int
    bottom: int
    middle: float
    label: str

    def to_json(self) -> dict[str, Json]:
        """Return the strip as a record of a chart."""
        return dict(asdict(self))


@dataclass(frozen=True)
class Strips:
    """All maps: their names, and what is written at the left, by pixel."""

    panels: tuple[str, ...]
    strips: tuple[Strip, ...]
    addresses: Mapping[int, str]
    height: int


@dataclass(frozen=True)
class _Range:
    panel: str
    start: int
    end: int
    type: str


def strips_of(records: Sequence[Mapping[str, Json]]) -> Strips:
    """Return where each range of PictureKind.MEMORY_MAPS's records stands."""
    ranges = [*_ranges(records)]
    panels = tuple(dict.fromkeys(one.panel for one in ranges))
    merged = [one for panel in panels for one in _joined(one for one in ranges if one.panel == panel)]
    lines = sorted({at for one in merged for at in (one.start, one.end)})
    tops = _tops(lines, merged)
    strips = tuple(_strip(one, tops) for one in merged)
    height = tops[lines[-1]] if lines else _LEAST
    return Strips(panels, strips, MappingProxyType(dict(_addresses(tops))), height)


def kind_of(name: str) -> str:
    """Return which of KINDS a map means by the name of a range's type."""
    small = name.lower()
    return next((kind for word, kind in _WORDS.items() if word in small), "anything else")


def _ranges(records: Sequence[Mapping[str, Json]]) -> Iterator[_Range]:
    for record in records:
        start, end = record["start"], record["end"]
        if isinstance(start, int) and isinstance(end, int) and start < end:
            yield _Range(plain(str(record["panel"]), _NAME), start, end, plain(str(record["type"]), _NAME))


def _joined(ranges: Iterator[_Range]) -> Iterator[_Range]:
    """Yield ranges in order, neighbours of one type as one."""
    last: _Range | None = None
    for one in sorted(ranges, key=lambda one: one.start):
        if last and last.end == one.start and last.type == one.type:
            last = _Range(last.panel, last.start, one.end, last.type)
            continue
        if last:
            yield last
        last = one
    if last:
        yield last


def _tops(lines: Sequence[int], ranges: Sequence[_Range]) -> dict[int, int]:
    """Return the pixel of each address at which something changes."""
    least = max(2, min(_LEAST, _MOST // max(1, len(lines))))
    tops, at = {}, 0
    for start, end in pairwise(lines):
        tops[start] = at
        covered = any(one.start < end and start < one.end for one in ranges)
        pages = (end - start) / _PAGE
        at += least + round(2 * math.log2(1 + pages / 256)) if covered else min(_HOLE, least)
    if lines:
        tops[lines[-1]] = at
    return tops


def _strip(one: _Range, tops: Mapping[int, int]) -> Strip:
    top, bottom = tops[one.start], tops[one.end]
    label = f"{one.type}, {size_text(one.end - one.start)}" if bottom - top >= _LABEL else ""
    return Strip(one.panel, one.type, kind_of(one.type), top, bottom, (top + bottom) / 2, label)


def _addresses(tops: Mapping[int, int]) -> Iterator[tuple[int, str]]:
    """Yield pixel and address of those lines that have room for it."""
    free = 0
    for address, top in tops.items():
        if top >= free:
            yield top, f"{address:#x}"
            free = top + _LEAST - 1
