# SPDX-License-Identifier: GPL-2.0-or-later
"""Aligned columns without boxes: they survive a mail, a pipe and a narrow terminal.

A width of None is no limit: a pipe and a file have none. On a terminal lines break between words only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import islice

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

__all__ = ["Cell", "columns", "flow", "print_lines", "width_of"]

Cell = str | Text

_AT_ONCE = 256  # rich takes 66 us to print a line, 20 us a line in a batch
_HANG = 4
_NARROW = 20  # a column with less room is left for `print_lines` to break
_WORD = re.compile(r"\S+")


def width_of(console: Console) -> int | None:
    """Return how wide lines may be: as wide as a terminal, or None where there is none."""
    return console.width if console.is_terminal else None


def columns(
    rows: Iterable[Sequence[Cell]],
    sides: str,
    *,
    gap: int = 2,
    indent: int = 0,
    width: int | None = None,
    spare: Sequence[int] = (),
    least: int | None = None,
    fold: Callable[[Text, int], list[Text]] | None = None,
) -> list[Text]:
    """Return one line a row; `sides` has '<' or '>' for each column, the gap between them is `gap` blanks.

    Where that is wider than `width`, columns of `spare` are left out, the first first, until it fits, or fits
    but for the last column while that has at least `least`. What the last column has no room for then goes on
    below, in that column, unless `fold` says how else it becomes narrower.
    """
    table = [[cell if isinstance(cell, Text) else Text(cell) for cell in row] for row in rows]
    widths = [max((row[at].cell_len for row in table), default=0) for at in range(len(sides))]
    shown = list(range(len(sides)))
    left_out = iter(spare)
    while width is not None:
        wanted = widths[shown[-1]]
        room = width - indent - sum(widths[at] + gap for at in shown[:-1])
        fits = room >= (wanted if least is None else min(least, wanted))
        if fits or (spared := next(left_out, None)) is None:
            break
        shown.remove(spared)
    chosen = [widths[at] for at in shown]
    lines: list[Text] = []
    for row in table:
        *others, last = (row[at] for at in shown)
        parts = [last] if width is None or room < (least or _NARROW) else (fold or flow)(last, room)
        for number, part in enumerate(parts):
            cells = [*(Text() if number else cell for cell in others), part]
            lines.append(_line(cells, chosen, [sides[at] for at in shown], gap, indent))
    return lines


def _line(row: Sequence[Text], widths: Sequence[int], sides: Sequence[str], gap: int, indent: int) -> Text:
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


def flow(line: Text, width: int, hang: int = 0) -> list[Text]:
    """Return `line` in parts of at most `width`, those after the first behind `hang` blanks.

    A word that is wider stays whole and where it is: a path or a hash can be copied from a terminal.
    """
    if line.cell_len <= width:
        return [line]
    plain, cuts, start, before = line.plain, [], 0, 0
    for number, word in enumerate(_WORD.finditer(plain)):
        helps = hang + cell_len(word[0]) <= width
        if number and helps and before + cell_len(plain[start : word.end()]) > width:
            start, before = word.start(), hang
            cuts.append(start)
    parts = list(line.divide(cuts))
    for part in parts:
        part.rstrip()
    return [parts[0], *(Text(" " * hang).append_text(part) for part in parts[1:])]


def print_lines(lines: Iterable[Text], console: Console, *, whole: bool = False) -> None:
    """Print lines; unless they are to stay `whole`, those wider than a terminal go on below, indented."""
    width = None if whole else width_of(console)
    left = iter(lines)
    while batch := list(islice(left, _AT_ONCE)):
        if width is not None:
            batch = [part for line in batch for part in flow(line, width, _hang(line))]
        console.print(Text("\n").join(batch), soft_wrap=True)


def _hang(line: Text) -> int:
    return len(line.plain) - len(line.plain.lstrip()) + _HANG
