# SPDX-License-Identifier: GPL-2.0-or-later
"""The comparison of two hand-offs for people and for programs."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from textwrap import wrap

from rich.text import Text

from pvefi.report.handoff_diff import HandoffDiff
from pvefi.report.handoff_row import ELSEWHERE, Row
from pvefi.trace.contrast import WIDTH, Contrast, contrast_lines
from pvefi.trace.spelling import escaped
from pvefi.trace.values import Json

__all__ = ["SCHEMA", "VERSION", "diff_lines", "diff_to_json"]

SCHEMA = "pvefi/handoff-diff"
VERSION = 1

_MOVED = "@"


def diff_lines(diff: HandoffDiff) -> Iterator[Text]:
    """Yield the report: which boots, what is said in sum, then each section's fields that differ."""
    for side, boot in (("A", diff.a), ("B", diff.b)):
        yield Text.assemble((f"{side}  {escaped(boot.name)}", "bold"))
        yield Text(f"   {escaped(boot.verdict)}")
    yield Text()
    yield Text(_sum(diff), "bold green" if diff.equal else "bold red")
    if any(row.moved for row in diff.differences):
        yield Text(f"{_MOVED} marks the same thing at another address: by KASLR, or allocated elsewhere")
    context = [row for row in diff.context if not row.equal]
    yield from _section("boot (told, not judged)", context)
    equal = []
    for section, group in groupby(diff.rows, key=lambda row: row.section):
        rows = list(group)
        differing = [row for row in rows if not row.equal]
        if not differing:
            equal.append(f"{section} ({len(rows)})")
            continue
        yield from _section(f"{section}: {len(differing)} of {len(rows)} differ", differing)
    if equal:
        yield Text()
        yield from (Text(line, "dim") for line in wrap(f"all equal: {', '.join(equal)}", WIDTH))


def _sum(diff: HandoffDiff) -> str:
    lacking = [side for side, boot in (("A", diff.a), ("B", diff.b)) if boot.handoff is None]
    if lacking:
        return f"{' and '.join(lacking)} {'has' if len(lacking) == 1 else 'have'} no hand-off to compare"
    total, differing = len(diff.rows), diff.differences
    if not differing:
        return f"equal: all {total} fields of the two hand-offs"
    moved = sum(bool(row.moved) for row in differing)
    told = f", {moved} of them only in where something stands" if moved else ""
    return f"{len(differing)} of {total} fields differ{told}"


def _section(title: str, rows: list[Row]) -> Iterator[Text]:
    if not rows:
        return
    yield Text()
    yield Text(title, "bold")
    table = [
        Contrast(
            escaped(row.name),
            *row.texts,
            "; ".join(part for part in (row.explained, row.moved) if part and part != ELSEWHERE),
            _MOVED if row.moved else " ",
        )
        for row in rows
    ]
    yield from contrast_lines(table, head=" ")


def diff_to_json(diff: HandoffDiff) -> dict[str, Json]:
    """Return the comparison as one document; equal fields are counted by section."""
    equal: dict[str, Json] = {}
    for section, group in groupby(diff.rows, key=lambda row: row.section):
        equal[section] = sum(row.equal for row in group)
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "equal": diff.equal,
        "a": _side(diff.a.name, diff.a.verdict, diff.a.handoff is not None),
        "b": _side(diff.b.name, diff.b.verdict, diff.b.handoff is not None),
        "fields": len(diff.rows),
        "equal_fields": equal,
        "context": [
            {"name": row.name, "a": row.values[0], "b": row.values[1]}
            for row in diff.context
            if not row.equal
        ],
        "differences": [
            {
                "section": row.section,
                "name": row.name,
                "a": row.values[0],
                "b": row.values[1],
                "meaning": row.explained,
                "moved": row.moved or None,
            }
            for row in diff.differences
        ],
    }


def _side(name: str, verdict: str, has_handoff: bool) -> Json:
    return {"boot": name, "verdict": verdict, "handoff": has_handoff}
