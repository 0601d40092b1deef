# SPDX-License-Identifier: GPL-2.0-or-later
"""What a report consists of: sections of text, tables and pictures, whatever it is written as.

`analysis` makes them, `report` writes them as HTML, Markdown and JSON. Text is plain: no mark-up, whatever a
guest wrote into it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from pvefi.trace.values import Json

__all__ = ["Cell", "Mark", "Picture", "PictureKind", "Section", "Table", "cell"]


class Mark(StrEnum):
    """What a cell is to be seen as, besides its text; every mark also has a word or a sign of its own."""

    NONE = ""
    GOOD = "good"
    BAD = "bad"
    DIFFERS = "differs"
    """It is not what the first column has."""
    MOVED = "moved"
    """The same thing at another address."""
    MISSING = "missing"
    """Not measured, or not there."""
    BEST = "best"


@dataclass(frozen=True)
class Cell:
    """One cell of a table: its text, its value for programs, and what else there is to say of it."""

    text: str
    value: Json = None
    mark: Mark = Mark.NONE
    note: str = ""


@dataclass(frozen=True)
class Table:
    """A table: the first heading is that of the rows' names. `numeric` has the columns aligned right.

    `folded` is a table that is long and of interest to few: a report may close it.
    """

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    about: str = ""
    numeric: frozenset[int] = frozenset()
    folded: bool = False


class PictureKind(StrEnum):
    """What a picture shows; the fields of its records follow from it."""

    MEMORY_MAPS = "memory maps"
    """`panel`: which map; `start`, `end`: guest physical, end exclusive; `type`: what the range is."""
    TIMELINE = "timeline"
    """`way`: the row; `phase`: up to which milestone; `start`, `end`: in milliseconds from the start."""
    HEAT_MAP = "heat map"
    """`row`, `column`: names; `value`: a count, 0 for none."""


@dataclass(frozen=True)
class Picture:
    """A picture of `records`, with the table that says the same."""

    title: str
    kind: PictureKind
    records: tuple[Mapping[str, Json], ...]
    table: Table
    about: str = ""


@dataclass(frozen=True)
class Section:
    """One part of a report; `name` is its identifier, such as "cost"; `text` are paragraphs.

    `short` is the title in one or two words, for where many titles stand in a line.
    """

    name: str
    title: str
    text: tuple[str, ...]
    parts: tuple[Table | Picture, ...]
    short: str = ""


def cell(value: Json, mark: Mark = Mark.NONE, note: str = "") -> Cell:
    """Return the cell of a value that is shown as it is: numbers with thousands, None as a dash."""
    if value is None:
        return Cell("-", None, mark or Mark.MISSING, note)
    if isinstance(value, bool):
        return Cell("yes" if value else "no", value, mark, note)
    if isinstance(value, int):
        return Cell(f"{value:,}", value, mark, note)
    if isinstance(value, float):
        return Cell(f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}", value, mark, note)
    return Cell(str(value), value, mark, note)
