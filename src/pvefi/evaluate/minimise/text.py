# SPDX-License-Identifier: GPL-2.0-or-later
"""Sections of tables as lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.text import Text

from pvefi.evaluate.document import Cell as TableCell
from pvefi.evaluate.document import Mark, Section, Table
from pvefi.report.text import section
from pvefi.trace.columns import Cell, columns
from pvefi.trace.spelling import escaped

__all__ = ["section_lines"]

_STYLES = {Mark.GOOD: "green", Mark.BAD: "bold red", Mark.DIFFERS: "yellow", Mark.MISSING: "dim"}


def section_lines(told: Sequence[Section], width: int | None) -> Iterator[Text]:
    """Yield the sections' texts and tables; what a guest wrote is escaped."""
    for at, one in enumerate(told):
        if at:
            yield Text()
        for paragraph in one.text:
            yield Text(escaped(paragraph))
        for part in one.parts:
            if isinstance(part, Table):
                yield from section(part.title.lower(), _table(part, width))


def _table(table: Table, width: int | None) -> list[Text]:
    rows: list[list[Cell]] = [[Text(heading, "dim") for heading in table.headings]]
    rows += [[_cell(one) for one in row] for row in table.rows]
    sides = "".join(">" if at in table.numeric else "<" for at in range(len(table.headings)))
    return columns(rows, sides, width=width, indent=2)


def _cell(one: TableCell) -> Cell:
    return Text(escaped(one.text), _STYLES.get(one.mark, ""))
