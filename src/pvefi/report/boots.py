# SPDX-License-Identifier: GPL-2.0-or-later
"""The report of one image booted through several entries: a table that compares them."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from pvefi.report.boot import to_json
from pvefi.trace.columns import Cell, columns, print_lines, width_of
from pvefi.trace.spelling import escaped
from pvefi.trace.values import Json
from pvefi.verdict import BootResult

__all__ = ["SCHEMA", "VERSION", "render_all", "to_json_all"]

SCHEMA = "pvefi/boots"
VERSION = 1

_HEADINGS = ("entry", "outcome", "decompressor", "kernel entered at", "slide", "seconds", "calls")

_SPARE = (6, 4, 5)  # columns that a narrow terminal has no room for: calls, slide, seconds


def render_all(results: Sequence[BootResult], console: Console) -> None:
    """Print one row an entry, then the verdicts of those that reached no hand-off."""
    counted = any(result.instructions is not None for result in results)
    headings = [*_HEADINGS, *(["instructions"] if counted else [])]
    rows: list[list[Cell]] = [[Text(heading, "dim") for heading in headings]]
    rows += [_row(result, counted=counted) for result in results]
    spare = [*_SPARE, *([7] if counted else [])]
    table = columns(rows, "<<<<>>>>"[: len(headings)], width=width_of(console), spare=spare)
    print_lines([Text(), *table], console)
    for result in results:
        if result.handoff is None:
            text = escaped(result.verdict.message)
            print_lines([Text(), Text.assemble((result.entry, "bold"), f": {text}")], console)


def _row(result: BootResult, *, counted: bool) -> list[Cell]:
    handoff = result.handoff
    row: list[Cell] = [Text(result.entry, "bold"), result.verdict.outcome.value]
    if handoff is None:
        row += ["", "", ""]
    else:
        where = f"{handoff.kernel_start} {handoff.kernel_entry:#x}"
        row += [handoff.decompressor, where, f"{handoff.proof.slide:#x}"]
    row += [f"{result.seconds:.2f}", str(result.calls_made)]
    if counted:
        row.append("" if result.instructions is None else f"{result.instructions:,}")
    return row


def to_json_all(results: Sequence[BootResult]) -> dict[str, Json]:
    """Return one document with the whole report of each boot."""
    return {"schema": SCHEMA, "version": VERSION, "boots": [to_json(result) for result in results]}
