# SPDX-License-Identifier: GPL-2.0-or-later
"""How reports write numbers and sections: sizes, ranges, hexadecimal dumps, titles and facts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.text import Text

from pvefi.trace.columns import Cell, flow, print_lines, width_of

__all__ = ["Fact", "byte_count", "fact_lines", "hex_bytes", "print_lines", "section", "size_text", "width_of"]

_LABEL_WIDTH = 14  # a SHA-256 beside it ends in column 80
_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")

Fact = tuple[str, Sequence[Cell]]
"""A label and the lines that stand beside it."""


def byte_count(count: int) -> str:
    """Return how many bytes, whole: 1 byte, 4096 bytes."""
    return f"{count} byte{'' if count == 1 else 's'}"


def size_text(size: int) -> str:
    """Return a size in the largest unit that leaves at most one decimal: 4 KiB, 1.5 MiB, 1001 bytes."""
    if size < 1024 or (size % 1024 and size < 10240):
        return byte_count(size)
    value, unit = size / 1024, 0
    while value >= 1024 and unit + 1 < len(_UNITS):
        value, unit = value / 1024, unit + 1
    return f"{value:.0f} {_UNITS[unit]}" if value == int(value) else f"{value:.1f} {_UNITS[unit]}"


def hex_bytes(data: bytes, against: bytes) -> Text:
    """Return `data` in hexadecimal; bytes that differ from those of `against` stand out."""
    text = Text(no_wrap=True)
    for at, byte in enumerate(data):
        same = at < len(against) and against[at] == byte
        text.append(" " if at else "").append(f"{byte:02x}", None if same else "bold")
    return text


def section(title: str, lines: Iterable[Text]) -> list[Text]:
    """Return `lines` under a title, with an empty line before; nothing when there are none."""
    body = list(lines)
    return [Text(), Text(title, "bold"), *body] if body else []


def fact_lines(facts: Iterable[Fact], width: int | None = None) -> list[Text]:
    """Return the facts as lines, their labels in one column; what `width` has no room for goes on below."""
    lines = []
    for label, cells in facts:
        texts = [cell if isinstance(cell, Text) else Text(cell) for cell in cells]
        if width is not None:
            texts = [part for text in texts for part in flow(text, width - _LABEL_WIDTH - 2)]
        for at, text in enumerate(texts):
            head = Text(no_wrap=True).append(f"  {'' if at else label:<{_LABEL_WIDTH}}", "dim")
            lines.append(head.append_text(text))
    return lines
