# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

from rich.text import Text

from pvefi.trace.columns import columns


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    lines = columns([["a", "1", "x"], ["bbb", Text("22", "red"), "yy"]], "<><", indent=1)
    assert [line.plain for line in lines] == [" a     1  x", " bbb  22  yy"]


def test_no_line_ends_in_blanks() -> None:
    assert [line.plain for line in columns([["a", ""], ["b", "c"]], "<<")] == ["a", "b  c"]


def test_a_wide_letter_takes_two_columns() -> None:
    assert [line.plain for line in columns([["漢", "1"], ["ab", "2"]], "<<")] == ["漢  1", "ab  2"]
