# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests of the colours, by the contrast that WCAG 2.1 defines."""

from __future__ import annotations

import pytest

from pvefi.evaluate.report.palette import COLOURS, FILLS, STEPS


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize("name", [*FILLS, *STEPS, "paper"])
def test_text_is_readable_on_every_colour(name: str, mode: str) -> None:
    ink, behind = (getattr(COLOURS[one], mode) for one in ("ink", name))
    assert contrast(ink, behind) >= 4.5


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_quiet_text_is_readable_on_paper(mode: str) -> None:
    assert contrast(getattr(COLOURS["quiet"], mode), getattr(COLOURS["paper"], mode)) >= 4.5


def test_a_light_colour_tells_its_name() -> None:
    assert len({colour.light for colour in COLOURS.values()}) == len(COLOURS)
