# SPDX-License-Identifier: GPL-2.0-or-later
"""Two sides of a comparison as a table: name, A, B, meaning. Values too long for a column stand below."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from textwrap import wrap

from rich.text import Text

__all__ = ["WIDTH", "Contrast", "contrast_lines", "shown_apart"]

WIDTH = 100
_GAP = "  "
_LEAST_MEANING = 20
_MEANING_LINES = 2
_LONGEST_VALUE = 24 * WIDTH  # a damaged document must not fill screens
_CONTEXT = 12


@dataclass(frozen=True)
class Contrast:
    """One row; `mark` is one character before the name, for whatever the table's legend says."""

    name: str
    a: str
    b: str
    meaning: str = ""
    mark: str = " "


def contrast_lines(rows: Sequence[Contrast], *, head: str = "", indent: int = 0) -> list[Text]:
    """Return the rows as lines of at most WIDTH columns, under a head that names the columns, if any."""
    if not rows:
        return []
    names = max(len(head), *(len(row.name) for row in rows))
    room = WIDTH - indent - 2 - names - 2 * len(_GAP)
    if any(row.meaning for row in rows):
        room -= len(_GAP) + _LEAST_MEANING
    beside = [row for row in rows if len(row.a) <= room // 2 and len(row.b) <= room // 2]
    widths = [
        max((len(text) for text in column), default=1)
        for column in ([row.a for row in beside], [row.b for row in beside])
    ]
    lines = []
    if head:
        cells = (f"{head:<{names}}", f"{'A':<{widths[0]}}", "B")
        lines.append(Text(" " * (indent + 2) + _GAP.join(cells), "dim"))
    for row in rows:
        start = " " * indent + f"{row.mark} {row.name:<{names}}"
        if row in beside:
            start += f"{_GAP}{row.a:<{widths[0]}}{_GAP}{row.b:<{widths[1]}}"
        lines += _with_meaning(start, row.meaning, indent + 4)
        if row not in beside:
            lines += [
                Text(line)
                for side, value in (("A", row.a), ("B", row.b))
                for line in _below(side, value, indent + 4)
            ]
    return lines


def _with_meaning(start: str, meaning: str, indent: int) -> Iterator[Text]:
    """Yield the row with its meaning beside it, or below where there is no room."""
    if not meaning:
        yield Text(start.rstrip())
        return
    column = len(start) + len(_GAP)
    parts = _wrapped(meaning, WIDTH - column) if column < WIDTH - _LEAST_MEANING else []
    if parts and len(parts) <= _MEANING_LINES and all(len(part) <= WIDTH - column for part in parts):
        for at, part in enumerate(parts):
            yield Text.assemble(start + _GAP if at == 0 else " " * column, (part, "dim"))
        return
    yield Text(start.rstrip())
    for part in _wrapped(meaning, WIDTH - indent):
        yield Text.assemble(" " * indent, (part, "dim"))


def _wrapped(text: str, width: int) -> list[str]:
    return wrap(text, width, break_long_words=False, break_on_hyphens=False)


def _below(side: str, value: str, indent: int) -> list[str]:
    cut = value[:_LONGEST_VALUE] + ("..." if len(value) > _LONGEST_VALUE else "")
    parts = wrap(cut, WIDTH - indent - 3, break_on_hyphens=False, drop_whitespace=False) or [""]
    return [
        " " * indent + f"{side if at == 0 else ' '}{_GAP}{part}".rstrip() for at, part in enumerate(parts)
    ]


def shown_apart(a: str, b: str, limit: int) -> tuple[str, str]:
    """Return both texts cut to about `limit` characters, so that the first difference is among them."""
    if len(a) <= limit and len(b) <= limit:
        return a, b
    at = next(
        (at for at, (one, two) in enumerate(zip(a, b, strict=False)) if one != two), min(len(a), len(b))
    )
    start = max(0, at - _CONTEXT) if at > limit - _CONTEXT else 0
    shown = [
        ("..." if start else "") + text[start : start + limit] + ("..." if len(text) > start + limit else "")
        for text in (a, b)
    ]
    return shown[0], shown[1]
