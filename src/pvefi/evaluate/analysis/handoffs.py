# SPDX-License-Identifier: GPL-2.0-or-later
"""What each entry hands to the same kernel, field by field: entries are columns, the first is compared with.

Only fields in which some entry differs are rows. Ranges of memory maps are told by `memory`; here are their
sums by type.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pvefi.evaluate.analysis.results import document_of, of, short_names, shown, ways
from pvefi.evaluate.analysis.setup_header import with_header_as_one
from pvefi.evaluate.document import Cell, Mark, Section, Table, cell
from pvefi.evaluate.run import Evaluation, ImageFacts
from pvefi.evaluate.task import TaskKind
from pvefi.report.boot_document import BootDocument
from pvefi.report.handoff_diff import diff_boots
from pvefi.report.handoff_row import LEFT_OVER, Row
from pvefi.trace.values import Json

__all__ = ["handoffs_section"]

_MAPS = ("e820", "EFI memory map")
_COUNTS = ("entries", "descriptors")
"""Rows of a map's section that are not ranges."""
_ALL = "(all)"
"""A row that stands for a whole section, where one side has nothing of it."""
_SUMS = "by type"
"""How the sections end that have a map's sums; where there is no map, its number of entries says so."""
_CODE = ("expected", "found", "file_offset")
"""Rows of the proof that say nothing of what the kernel was given."""
_WIDTH = 100  # characters of a value
_SIDE = re.compile(r"\b([AB])(?=: | has )")

_ABOUT = (
    "Equal to the first column unless marked. Moved: the same thing at another address, by KASLR or because "
    "it was allocated elsewhere. "
)


@dataclass(frozen=True)
class _Key:
    section: str
    name: str


def handoffs_section(evaluation: Evaluation) -> Section:
    """Return the n-way comparison of every image's hand-offs, on each machine that records them."""
    parts: list[Table] = []
    for image in evaluation.images:
        told: Mapping[_Key, tuple[str, ...]] = {}
        for machine in dict.fromkeys(way.machine for way in ways(evaluation, image)):
            table, marks = _compared(evaluation, image, machine, told)
            if table is not None:
                parts.append(table)
                told = told or marks
    text = [
        "What the kernel proper finds at its first instruction, by the entry through which its image was "
        "booted. Fields that are equal for all entries are counted, not shown. Of the general registers only "
        "those are compared that mean something to the kernel: the boot protocols demand nothing of the "
        "others.",
    ]
    if not parts:
        text.append("No image has two hand-offs on one machine: there is nothing to compare.")
    return Section("hand-off", "What each entry hands over", tuple(text), tuple(parts), short="Hand-off")


def _compared(
    evaluation: Evaluation, image: ImageFacts, machine: str, told: Mapping[_Key, tuple[str, ...]]
) -> tuple[Table | None, dict[_Key, tuple[str, ...]]]:
    """Return the table of one image on one machine, and for each of its rows the marks.

    A row that has the same marks in `told`, the table of another machine, is left out.
    """
    found: dict[str, BootDocument] = {}
    for way in ways(evaluation, image):
        if way.machine == machine:
            document = document_of(of(evaluation, image, way, [TaskKind.HANDOFF]))
            if document is not None:
                found[way.entry] = document
    if len(found) < 2:
        return None, {}
    base, *others = found
    columns = [_rows(found[base], found[other]) for other in others]
    keys = list(dict.fromkeys(key for column in columns for key in column))
    rows, marks, equal = [], {}, Counter[str]()
    for key in keys:
        cells = _cells(key, columns, [base, *others])
        if all(one.mark is Mark.NONE for one in cells):
            equal[key.section] += 1
            continue
        marks[key] = tuple(one.mark.value for one in cells)
        if told.get(key) != marks[key]:
            meaning = next(column[key].meaning for column in columns if key in column)
            rows.append((cell(shown(_name(key), 80)), *cells, cell(shown(meaning) or None)))
    if not rows:
        return None, marks
    name = short_names(evaluation)[image.file.sha256]
    alike = ", ".join(f"{section} {count}" for section, count in equal.items())
    about = _ABOUT + f"Equal in all: {alike or 'none'}."
    if told:
        about += " Rows that are marked like those of the first machine are left out."
    return (
        Table(
            f"{name} on {machine}",
            ("field", *(shown(entry, 40) for entry in found), "what it is"),
            tuple(with_header_as_one(rows, 0)),
            about,
            folded=bool(told),
        ),
        marks,
    )


def _name(key: _Key) -> str:
    """Return the field's name, with what it is a part of where that is not plain."""
    return key.name if key.section in ("boot_params", "path", "given") else f"{key.section}: {key.name}"


def _rows(base: BootDocument, other: BootDocument) -> dict[_Key, Row]:
    return {
        _Key(row.section, row.name): row
        for row in diff_boots(base, other).rows
        if not (row.section in _MAPS and row.name not in _COUNTS)
        and not (row.section == "proof" and row.name in _CODE)
        and not (row.section == "registers" and row.meaning in ("", LEFT_OVER))
        and row.name != _ALL
    }


def _cells(key: _Key, columns: Sequence[Mapping[_Key, Row]], names: Sequence[str]) -> list[Cell]:
    """Return the base's cell, then one for each other column; None of a column has no such field."""
    first = next((column[key] for column in columns if key in column), None)
    assert first is not None, "a key is that of some column"
    cells = [Cell(shown(first.texts[0], _WIDTH), _short(first.values[0]))]
    for name, column in zip(names[1:], columns, strict=True):
        row = column.get(key)
        if row is None:
            lacks = first.values[0] not in (None, 0) and not key.section.endswith(_SUMS)
            cells.append(Cell("none", None, Mark.DIFFERS if lacks else Mark.NONE))
            continue
        mark = Mark.NONE if row.equal else Mark.MOVED if row.moved else Mark.DIFFERS
        note = "" if row.equal else row.moved or _sides_named(row.apart, names[0], name)
        cells.append(Cell(shown(row.texts[1], _WIDTH), _short(row.values[1]), mark, shown(note)))
    return cells


def _sides_named(text: str, a: str, b: str) -> str:
    return _SIDE.sub(lambda side: a if side[1] == "A" else b, text)


def _short(value: Json) -> Json:
    """Return a value that is not long; the hand-off's own document has the others."""
    return None if isinstance(value, list | dict) or len(str(value)) > _WIDTH else value
