# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests of the report for programs."""

from __future__ import annotations

import json
import re
from pathlib import Path

from pvefi.evaluate.document import Picture, Section, cell
from pvefi.evaluate.report import document
from pvefi.evaluate.report.document import picture_names
from pvefi.evaluate.run import Gap
from pvefi.evaluate.task import Problem
from pvefi.trace.values import Json
from tests.build.evaluation import evaluation, image, memory_map, result, sections, table

DOCS = Path(__file__).resolve().parents[3] / "docs" / "json-documents.md"


def member(value: Json, *path: str | int) -> Json:
    for step in path:
        value = value[step]  # type: ignore[index]  # a test's own path
    return value


def test_every_cell_of_every_section_is_there_with_its_value() -> None:
    made = document(evaluation(), sections())
    for at, section in enumerate(sections()):
        assert member(made, "sections", at, "name") == section.name
        for number, part in enumerate(section.parts):
            written = member(made, "sections", at, "parts", number)
            shown = part.table if isinstance(part, Picture) else part
            if isinstance(part, Picture):
                written = member(written, "as_table")
            assert member(written, "rows") == [
                [
                    {"text": one.text, "value": one.value}
                    | ({"mark": one.mark.value} if one.mark else {})
                    | ({"note": one.note} if one.note else {})
                    for one in row
                ]
                for row in shown.rows
            ]


def test_a_boot_is_told_in_short_and_by_the_file_that_has_it_whole() -> None:
    one = result(image())
    told = member(document(evaluation(results=[one]), ()), "results", 0)
    assert isinstance(told, dict)
    assert told["file"] == f"results/{one.task.id}.json"
    assert told["image"] == "a" * 64
    assert told["verdict"] == {
        "outcome": "hand-off",
        "message": "the kernel proper has control",
        "status": None,
    }
    assert "handoff" not in told


def test_a_boot_that_never_was_says_why() -> None:
    one = result(image(), problem=Problem.STUCK, why="it was ended")
    told = member(document(evaluation(results=[one]), ()), "results", 0)
    assert (member(told, "problem"), member(told, "why"), member(told, "verdict")) == (
        "stuck",
        "it was ended",
        None,
    )


def test_what_is_missing_is_there_with_its_reason() -> None:
    made = document(evaluation(gaps=[Gap("xen", Problem.MACHINE, "no dom0")]), ())
    assert made["gaps"] == [{"what": "xen", "problem": "machine", "why": "no dom0"}]


def test_one_long_text_does_not_make_the_document_long() -> None:
    endless = "x" * 10_000_000
    section = Section("a", "A", (endless,), (table([[cell(endless), cell(endless, note=endless)]]),))
    text = json.dumps(document(evaluation(results=[result(image(), why=endless)]), (section,)))
    assert len(text) < 200_000
    assert "9,980,000 more characters" in text


def test_pictures_have_names_of_their_own() -> None:
    twice = (
        Section("handoff", "A", (), (memory_map(), memory_map())),
        Section("cost", "B", (), (memory_map(),)),
    )
    assert picture_names(twice) == ["memory-maps", "memory-maps-2", "memory-maps-3"]


def test_the_documentation_has_every_field() -> None:
    """A field's name stands in a table of the document's chapter, in backquotes."""
    chapter = DOCS.read_text().partition("`pvefi/evaluation`, version 1")[2].partition("\n## ")[0]
    assert chapter
    made = document(evaluation(results=[result(image())], gaps=[Gap("a", Problem.INPUT, "b")]), sections())
    ours = names(made) - {"schema", "version"}  # every document begins with them
    missing = sorted(ours - set(re.findall(r"`(\w+)`", chapter)))
    assert not missing


def names(value: Json, inside: str = "") -> set[str]:
    """Return the names of all fields, but of those that follow from data."""
    match value:
        case dict():
            own = set() if inside in ("records", "machines", "verdict") else set(value)
            return own.union(*(names(one, name) for name, one in value.items()))
        case list():
            return set().union(*(names(one, inside) for one in value))
    return set()
