# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests of the page's text; what a browser makes of it is in test_chromium.py."""

from __future__ import annotations

import base64
import hashlib
import re

from pvefi.evaluate.document import Mark, Section, cell
from pvefi.evaluate.report.html import html
from pvefi.evaluate.report.signs import LEGEND, SIGNS
from tests.build.evaluation import HOSTILE, evaluation, sections, table


def page(*of: Section) -> str:
    return html(evaluation(), of, ["<svg></svg>"] * 3)


def test_the_policy_allows_the_page_s_own_style_and_script_alone() -> None:
    text = page(*sections())
    policy = re.search(r'Content-Security-Policy content="([^"]*)"', text)
    assert policy
    allowed = dict(one.split(" ", 1) for one in policy[1].replace("&#39;", "'").split("; "))
    assert allowed["default-src"] == "'none'"
    for tag, name in (("style", "style-src"), ("script", "script-src")):
        [inside] = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert allowed[name] == f"'sha256-{digest}'"


def test_the_page_refers_to_nothing_outside() -> None:
    text = page(*sections())
    assert not re.findall(r"""(?:src|href)=(?!"#)|url\(|@import| style=|://""", text)


def test_what_a_guest_wrote_is_text() -> None:
    hostile = table([[cell(HOSTILE), cell(HOSTILE, note=HOSTILE)]], title=HOSTILE, about=HOSTILE)
    text = page(Section("a", HOSTILE, (HOSTILE,), (hostile,)))
    assert text.count("<script>") == 1
    assert "<img" not in text
    assert "&lt;img src=x" in text
    assert "{{ 7*7 }}" in text
    assert text.replace("\n", "").isprintable()


def test_a_line_of_a_megabyte_is_cut() -> None:
    short, long = (page(Section("a", "A", (), (table([[cell("x" * size)]]),))) for size in (1, 1 << 20))
    assert len(long) < len(short) + 2000


def test_sections_of_one_name_have_anchors_of_their_own() -> None:
    text = page(Section("a", "A", (), ()), Section("a", "B", (), ()), Section("A b'\"><i>", "C", (), ()))
    assert (
        re.findall(r'<section id="([^"]*)"', text)
        == re.findall(r'<a href="#([^"]*)"', text)
        == ["a", "a-2", "a-b-i"]
    )


def test_every_mark_but_the_missing_one_has_a_sign_that_is_explained() -> None:
    assert set(SIGNS) == set(LEGEND) == set(Mark) - {Mark.NONE, Mark.MISSING}
    text = page(*sections())
    for mark, sign in SIGNS.items():
        assert f'content:"{sign} "/"{mark.value}: "' in text
        assert LEGEND[mark].startswith(f"{sign} ")
        assert LEGEND[mark][2:] in text


def test_equal_notes_are_one_below_the_table_and_short_ones_stand_in_it() -> None:
    noted = [
        [cell("a"), cell("x", note="w" * 70)],
        [cell("b"), cell("y", note="w" * 70)],
        [cell("c"), cell(1, note="in")],
    ]
    text = page(Section("a", "A", (), (table(noted),)))
    assert text.count("w" * 70) == 1
    assert text.count("<sup>1</sup>") == 2
    assert "<small>in</small>" in text


def test_a_table_without_end_says_how_much_is_left_out() -> None:
    endless = table([[cell(f"row {at}"), cell(at)] for at in range(2500)])
    text = page(Section("a", "A", (), (endless,)))
    assert "500 more rows are in report.json" in text
    assert "row 1999" in text
    assert "row 2000" not in text
