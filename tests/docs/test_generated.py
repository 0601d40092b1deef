# SPDX-License-Identifier: GPL-2.0-or-later
"""The tables of docs/ say what the code says, and its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import build_docs

LINK = re.compile(r"\[[^\]]+\]\((?P<target>[^)#\s]+)(?:#[^)]*)?\)")
MARK = re.compile(r"<!-- generated: (.*?) -->")
PAGES = build_docs.documents()


def name_of(path: Path) -> str:
    return str(path.relative_to(build_docs.ROOT))


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_a_page_s_generated_tables_are_up_to_date(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    if build_docs.rewrite(text) != text:
        pytest.fail(f"{name_of(path)} is out of date (make docs)", pytrace=False)


def test_every_table_that_can_be_generated_stands_on_one_page() -> None:
    found = [name for path in PAGES for name in MARK.findall(path.read_text(encoding="utf-8"))]
    assert sorted(found) == sorted(build_docs.BLOCKS)


def test_a_mark_without_a_table_is_an_error() -> None:
    with pytest.raises(KeyError):
        build_docs.rewrite("<!-- generated: nothing -->\n<!-- end -->\n")


def test_text_outside_of_marks_is_left_alone() -> None:
    text = "before\n<!-- generated: exit-statuses -->\nold\n<!-- end -->\nafter\n"
    made = build_docs.rewrite(text)
    assert made.startswith("before\n<!-- generated: exit-statuses -->\n| status |")
    assert made.endswith("<!-- end -->\nafter\n")
    assert "old" not in made


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_every_link_to_a_file_leads_to_one(path: Path) -> None:
    for match in LINK.finditer(path.read_text(encoding="utf-8")):
        target = match["target"]
        if "://" not in target:
            assert (path.parent / target).exists(), f"{name_of(path)}: {target}"


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen: set[Path] = set()
    todo = [build_docs.ROOT / "README.md"]
    while todo:
        page = todo.pop().resolve()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        for match in LINK.finditer(page.read_text(encoding="utf-8")):
            if "://" not in match["target"]:
                todo.append(page.parent / match["target"])
    assert not {name_of(page) for page in PAGES} - {name_of(page) for page in seen}
