# SPDX-License-Identifier: GPL-2.0-or-later
"""The colours of pictures, each for paper and for a dark screen.

Text in the colour `ink` is readable on every other one of the same mode: a contrast of 4.5 to 1 at least,
as WCAG 2.1 asks for (success criterion 1.4.3). A colour in light mode belongs to one name only, so that a
picture drawn with it can be told which is which.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["COLOURS", "FILLS", "STEPS", "Colour"]


@dataclass(frozen=True)
class Colour:
    """One colour as `#rrggbb`, in both modes."""

    light: str
    dark: str


COLOURS: Mapping[str, Colour] = MappingProxyType(
    {
        "ink": Colour("#1c1e21", "#e8e8e6"),
        "quiet": Colour("#595f66", "#a2a8ae"),
        "line": Colour("#dcdcd8", "#34383d"),
        "paper": Colour("#fdfdfc", "#15171a"),
        "c0": Colour("#dfe1e4", "#393e42"),
        "c1": Colour("#acd4ff", "#30517b"),
        "c2": Colour("#d4b77a", "#785f28"),
        "c3": Colour("#a9e1b4", "#2c5c38"),
        "c4": Colour("#eca69a", "#8b5148"),
        "c5": Colour("#eabff4", "#63416b"),
        "c6": Colour("#74cbd0", "#147175"),
        "c7": Colour("#d4d695", "#535318"),
        "c8": Colour("#e9a4b8", "#884f61"),
        "c9": Colour("#c5ccff", "#474a7b"),
        "c10": Colour("#e3ae83", "#855831"),
        "c11": Colour("#93e4ce", "#035e4d"),
        "h0": Colour("#f4f4f1", "#1d2024"),
        "h1": Colour("#ddf2ff", "#132938"),
        "h2": Colour("#bde0fa", "#17394f"),
        "h3": Colour("#98cbf0", "#1c4967"),
        "h4": Colour("#73b6e5", "#205b7f"),
        "h5": Colour("#4aa1d9", "#236d99"),
    }
)

FILLS = tuple(name for name in COLOURS if name[0] == "c")
"""Names of colours for things that differ in kind; the first is the quietest."""
STEPS = tuple(name for name in COLOURS if name[0] == "h")
"""Names of colours for more and more of one thing; the first is for none of it."""
