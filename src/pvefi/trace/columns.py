# SPDX-License-Identifier: GPL-2.0-or-later
"""Aligned columns without boxes: they survive a mail, a pipe and a narrow terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

from rich.console import Console
from rich.text import Text

__all__ = ["Cell", "columns", "print_lines"]

Cell = str | Text

_AT_ONCE = 256  # rich takes 66 us to print a line, 20 us a line in a batch


def columns(rows: Iterable[Sequence[Cell]], sides: str, *, gap: int = 2, indent: int = 0) -> list[Text]:
    """Return one line a row; `sides` has '<' or '>' for each column, the gap between them is `gap` blanks."""
    table = [[cell if isinstance(cell, Text) else Text(cell) for cell in row] for row in rows]
    widths = [max((row[at].cell_len for row in table), default=0) for at in range(len(sides))]
    return [_line(row, widths, sides, gap, indent) for row in table]


def _line(row: Sequence[Text], widths: Sequence[int], sides: str, gap: int, indent: int) -> Text:
    line = Text(" " * indent, no_wrap=True)
    for at, (cell, width, side) in enumerate(zip(row, widths, sides, strict=True)):
        blanks = " " * (width - cell.cell_len)
        if side == ">":
            line.append(blanks)
        line.append_text(cell)
        if side == "<":
            line.append(blanks)
        if at + 1 < len(row):
            line.append(" " * gap)
    line.rstrip()
    return line


def print_lines(lines: Iterable[Text], console: Console) -> None:
    """Print lines as they are: never wrapped, so that they can be copied whole."""
    left = iter(lines)
    while batch := list(islice(left, _AT_ONCE)):
        console.print(Text("\n").join(batch), soft_wrap=True)
