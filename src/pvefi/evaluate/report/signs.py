# SPDX-License-Identifier: GPL-2.0-or-later
"""The sign that each mark has besides its colour, the same in every form of a report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from pvefi.evaluate.document import Mark, Section, Table

__all__ = ["LEGEND", "SIGNS", "marks_of"]

SIGNS: Mapping[Mark, str] = MappingProxyType(
    {
        Mark.GOOD: "✓",
        Mark.BAD: "✗",
        Mark.DIFFERS: "≠",
        Mark.MOVED: "@",
        Mark.BEST: "★",
    }
)
"""What is missing has none: it is set in italics, and says itself what it is."""

LEGEND: Mapping[Mark, str] = MappingProxyType(
    {
        Mark.GOOD: "✓ as it should be",
        Mark.BAD: "✗ failed, or a weakness",
        Mark.DIFFERS: "≠ differs from the first column",
        Mark.MOVED: "@ the same at another address",
        Mark.BEST: "★ the best",
    }
)


def marks_of(sections: Sequence[Section]) -> Iterator[Mark]:
    """Yield the marks that cells of these sections have, in their own order."""
    used = {
        cell.mark
        for section in sections
        for part in section.parts
        for row in (part if isinstance(part, Table) else part.table).rows
        for cell in row
    }
    yield from (mark for mark in Mark if mark in used)
