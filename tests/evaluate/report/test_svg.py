# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests of SVGs made fit for a report."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from pvefi.evaluate.document import Picture
from pvefi.evaluate.report.charts import svg_of
from pvefi.evaluate.report.palette import COLOURS
from pvefi.evaluate.report.plain import plain
from pvefi.evaluate.report.svg import NAMESPACE, inline, standalone
from tests.build.evaluation import HOSTILE, heat_map, memory_map, timeline

PICTURES = [
    memory_map(),
    timeline(),
    heat_map(columns=["a name of an image that is so long that it is turned" * 2, "b"]),
]


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.title)
def test_a_picture_in_a_page_has_its_colours_by_name_and_no_style(picture: Picture) -> None:
    made = inline(svg_of(picture), "label")
    assert not re.search(r"#[0-9a-f]{3}|style|font|<g|black|white", made)
    used = {name for found in re.findall(r'class="([^"]*)"', made) for name in found.split()}
    assert used
    assert {name.removeprefix("s-") for name in used} <= set(COLOURS)


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.title)
def test_a_picture_loses_no_shape_and_no_text_but_most_of_its_size(picture: Picture) -> None:
    drawn = svg_of(picture)
    made = inline(drawn, "label")
    before, after = (ElementTree.fromstring(one) for one in (drawn, made))
    svg = f"{{{NAMESPACE}}}"
    assert [one.text for one in after.iter("text")] == [one.text for one in before.iter(f"{svg}text")]
    assert len(list(after.iter("line"))) == len(list(before.iter(f"{svg}line")))
    assert len(made) < len(drawn) / 2


def test_a_turned_text_keeps_its_place_and_its_turn() -> None:
    made = inline(svg_of(PICTURES[2]), "label")
    turned = re.findall(r'transform="translate\(([\d.]+),([\d.]+)\)rotate\(315', made)
    assert len(turned) == 2
    assert turned[0] != turned[1]


def test_the_label_is_what_the_picture_is_called_for_who_does_not_see_it() -> None:
    label = plain(HOSTILE, 100)
    for made in (inline(svg_of(timeline()), label), standalone(svg_of(timeline()), label)):
        root = ElementTree.fromstring(made)
        assert root.get("role") == "img"
        assert root.get("aria-label") == label


def test_a_picture_as_a_file_is_light_without_styles_and_dark_where_that_is_preferred() -> None:
    made = standalone(svg_of(timeline()), "label")
    root = ElementTree.fromstring(made)
    style = root.findtext(f"{{{NAMESPACE}}}style", "")
    light, _, dark = style.partition("@media(prefers-color-scheme:dark)")
    assert COLOURS["paper"].dark in dark
    assert COLOURS["paper"].dark not in light
    paper = root.find(f"{{{NAMESPACE}}}rect")
    assert paper is not None
    assert paper.get("fill") == COLOURS["paper"].light
    for element in root.iter():
        for name in element.get("class", "").split():
            assert f".{name}{{" in dark
