# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests of the report in Markdown, as markdown-it-py reads it."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from markdown_it import MarkdownIt

from pvefi.evaluate.document import Section, cell
from pvefi.evaluate.minimise.claim import SOURCE
from pvefi.evaluate.report.markdown import markdown, section_markdown
from pvefi.evaluate.run import Gap
from pvefi.evaluate.task import Problem
from tests.build.evaluation import HOSTILE, evaluation, image, sections, table


class Reader(HTMLParser):
    """Collects the tags, the cells of tables and the pictures of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.rows: list[list[str]] = []
        self.pictures: list[str] = []
        self.text = ""
        self.inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.inside = True
        if tag == "img":
            self.pictures.append(dict(attrs)["src"] or "")

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.inside:
            self.rows[-1][-1] += data


def read(text: str) -> Reader:
    """Return the page as a reader of tables, strikethrough and raw HTML sees it: GitHub's flavour."""
    reader = Reader()
    reader.feed(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text))
    return reader


def test_every_cell_reads_as_it_was() -> None:
    section = Section(
        "a", "A", (), (table([[cell("boot_params _x_ *y*"), cell("a|b `c` <d> &lt; \\ [e](f)")]]),)
    )
    rows = [[one.strip() for one in row] for row in read(markdown(evaluation(), [section], False)).rows]
    assert ["boot_params _x_ *y*", "a|b `c` <d> &lt; \\ [e](f)"] in rows


def test_what_a_guest_wrote_makes_no_element_and_no_row() -> None:
    hostile = table([[cell(HOSTILE), cell(HOSTILE, note=HOSTILE)]], title=HOSTILE, about=HOSTILE)
    folded = table([[cell(HOSTILE), cell("1")]], title=HOSTILE, folded=True)
    section = Section("a", HOSTILE, (HOSTILE, f"# {HOSTILE}", f"- {HOSTILE}"), (hostile, folded))
    made = evaluation(
        [image(HOSTILE, HOSTILE)], (), [Gap(HOSTILE, Problem.INPUT, HOSTILE)], HOSTILE + "\n```\n<b>", HOSTILE
    )
    text = markdown(made, [section], False)
    page = read(text)
    ours = {
        "h1",
        "h2",
        "p",
        "pre",
        "code",
        "ul",
        "ol",
        "li",
        "strong",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
    }
    assert page.tags <= ours | {"details", "summary"}
    assert all(letter.isprintable() or letter == "\n" for letter in text)
    assert {len(row) for row in page.rows} == {2, 3, 5}
    assert page.text.count("alert(1)") > 10


def test_a_long_table_is_folded_and_a_longer_one_is_cut() -> None:
    long = table([[cell(f"row {at}"), cell(at)] for at in range(1000)], title="Long")
    text = markdown(evaluation(), [Section("a", "A", (), (long,))], False)
    assert "<details><summary>Long, 1,000 rows</summary>\n\n|" in text
    assert "800 more rows are in report.json." in text
    assert len(read(text).rows) < 210


def test_marks_are_signs_and_the_signs_are_explained() -> None:
    text = markdown(evaluation(), sections(), False)
    for sign in "✓✗≠@★":
        assert re.search(rf"\| {sign} \w+ \|", text)
    assert "| *missing* |" in text
    assert "Signs: ✓ as it should be, ✗ failed" in text


def test_a_long_note_stands_once_below_its_table() -> None:
    noted = table([[cell("a"), cell("x", note="why")], [cell("b"), cell("y", note="why")]])
    text = markdown(evaluation(), [Section("a", "A", (), (noted,))], False)
    assert "| a | x (1) |\n| b | y (1) |\n\n1. why\n" in text


def test_pictures_are_files_beside_it_where_there_are_any() -> None:
    assert read(markdown(evaluation(), sections(), True)).pictures == [
        "pictures/memory-maps.svg",
        "pictures/timeline.svg",
        "pictures/heat-map.svg",
    ]
    assert not read(markdown(evaluation(), sections(), False)).pictures


def test_nothing_missing_is_said() -> None:
    assert "Nothing that was asked for is missing." in markdown(evaluation(), (), False)
    gap = Gap("machine xen", Problem.MACHINE, "no dom0")
    assert "| machine xen | ✗ no machine | no dom0 |" in markdown(evaluation(gaps=[gap]), (), False)


def test_the_page_that_pvefi_refers_to_is_a_link_and_no_other_is() -> None:
    section = Section("a", "A", (f"a page ({SOURCE}), and https://example.invalid/x",), ())
    text = markdown(evaluation(), [section], False)
    assert f"(<{SOURCE}>)" in text
    assert "https:\\//example.invalid/x" in text


def test_a_section_can_stand_alone_in_another_document() -> None:
    text = section_markdown(sections()[2], level=3)
    assert text.startswith("### Cost\n\n")
    assert "![" not in text
    assert "**Boot timeline as a table**\n\n| way | phase | start | end |" in text
