# SPDX-License-Identifier: GPL-2.0-or-later
"""docs/evaluation.md explains every section of a report, in the report's order, and every kind of boot."""

from __future__ import annotations

import re
from pathlib import Path

from pvefi.evaluate.analysis import sections
from pvefi.evaluate.task import TaskKind
from tests.evaluate.analysis.made import evaluation

PAGE = Path(__file__).parents[2] / "docs" / "evaluation.md"


def first_cells(heading: str) -> list[str]:
    """Return the first cells of the rows of the table under a heading."""
    part = PAGE.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \|", part, re.MULTILINE)
    return [row.strip("`") for row in rows if not row.startswith("---")][1:]


def test_every_section_of_a_report_is_explained_in_its_order() -> None:
    assert first_cells("Reading the report") == [section.title for section in sections(evaluation())]


def test_every_kind_of_boot_is_explained() -> None:
    assert sorted(first_cells("What runs")) == sorted(kind.value for kind in TaskKind)
