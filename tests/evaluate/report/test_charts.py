# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests of pictures, by what is in the SVG."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from pvefi.evaluate.document import Picture, PictureKind, Table
from pvefi.evaluate.report.charts import svg_of
from pvefi.evaluate.report.palette import COLOURS, STEPS
from tests.build.evaluation import HOSTILE, heat_map, memory_map, timeline

GUID = "f541796d-a62e-4954-a775-9584f61b9cdd"
SVG = "{http://www.w3.org/2000/svg}"


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def fills(svg: str) -> list[str]:
    return [element.get("fill", "") for element in ElementTree.fromstring(svg).iter(f"{SVG}path")]


def test_a_memory_map_names_its_panels_addresses_and_every_range() -> None:
    written = texts(svg_of(memory_map()))
    assert {"before", "after", "0x0", "0x1000", "0x100000", "ACPI, 4 KiB", "code, 44 MiB"} <= set(written)


def test_a_timeline_numbers_its_phases_and_writes_each_way_s_end() -> None:
    written = texts(svg_of(timeline()))
    assert {"efi, qemu", "linux64, qemu", "1 until first doorbell", "2 until hand-off"} <= set(written)
    assert written.count("1,690") == 2
    assert written.count("3 until user space") == 3, "in each bar and in the legend"


def test_a_heat_map_writes_every_count_and_has_none_for_nought() -> None:
    svg = svg_of(heat_map())
    written = texts(svg)
    assert {"·", "100", "7", "107", "AllocatePages", "xen.efi"} <= set(written)
    steps = [fill for fill in fills(svg) if fill in {COLOURS[name].light for name in STEPS}]
    assert len(steps) == 4
    assert steps.count(COLOURS["h0"].light) == 1


@pytest.mark.parametrize("made", [heat_map([GUID], ["a"]), timeline([GUID])])
def test_a_long_name_at_the_left_is_whole_in_a_wide_font(made: Picture) -> None:
    root = ElementTree.fromstring(svg_of(made))
    places = {element: parent for parent in root.iter() for element in parent}
    [name] = [element for element in root.iter(f"{SVG}text") if element.text == GUID]
    at, left = name, 0.0
    while at is not root:
        left += float(re.findall(r"translate\(([-\d.]+)", at.get("transform", "translate(0"))[0])
        at = places[at]
    assert name.get("text-anchor") == "end"
    assert left >= len(GUID) * 7


@pytest.mark.parametrize("made", [memory_map([HOSTILE]), timeline([HOSTILE]), heat_map([HOSTILE], [HOSTILE])])
def test_names_of_guests_are_text_in_a_picture(made: Picture) -> None:
    root = ElementTree.fromstring(svg_of(made))
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
        "svg",
        "g",
        "rect",
        "path",
        "line",
        "text",
    }
    assert any("</script>" in (element.text or "") for element in root.iter(f"{SVG}text"))


@pytest.mark.parametrize("kind", PictureKind)
def test_a_picture_of_nothing_is_drawn(kind: PictureKind) -> None:
    assert "<svg" in svg_of(Picture("Nothing", kind, (), Table("Nothing", ("a",), ())))
