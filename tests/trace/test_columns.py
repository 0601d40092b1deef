# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from pvefi.trace.columns import columns, flow, print_lines, width_of


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    lines = columns([["a", "1", "x"], ["bbb", Text("22", "red"), "yy"]], "<><", indent=1)
    assert [line.plain for line in lines] == [" a     1  x", " bbb  22  yy"]


def test_no_line_ends_in_blanks() -> None:
    assert [line.plain for line in columns([["a", ""], ["b", "c"]], "<<")] == ["a", "b  c"]


def test_a_wide_letter_takes_two_columns() -> None:
    assert [line.plain for line in columns([["漢", "1"], ["ab", "2"]], "<<")] == ["漢  1", "ab  2"]


def plain(lines: list[Text]) -> list[str]:
    return [line.plain for line in lines]


def test_a_table_that_is_too_wide_loses_columns_in_the_order_given() -> None:
    rows = [["aaaa", "bbbb", "cccc", "dddd"]]
    assert plain(columns(rows, "<<<<", width=22, spare=[1, 2])) == ["aaaa  bbbb  cccc  dddd"]
    assert plain(columns(rows, "<<<<", width=21, spare=[1, 2])) == ["aaaa  cccc  dddd"]
    assert plain(columns(rows, "<<<<", width=10, spare=[1, 2])) == ["aaaa  dddd"]
    assert plain(columns(rows, "<<<<", width=10, spare=[3, 2])) == ["aaaa  bbbb"]


def test_the_last_column_goes_on_below_itself() -> None:
    rows = [["a", "one two three"], ["b", "four"]]
    assert plain(columns(rows, "<<", width=10, least=5)) == ["a  one two", "   three", "b  four"]


def test_words_are_never_broken_and_long_ones_stay_where_they_are() -> None:
    assert plain(flow(Text("  one two three"), 9, hang=4)) == ["  one two", "    three"]
    assert plain(flow(Text("sha256 0123456789"), 9)) == ["sha256 0123456789"]


@given(st.lists(st.text("ab漢", min_size=1, max_size=12)).map(" ".join), st.integers(1, 30))
def test_flowing_keeps_every_word(text: str, width: int) -> None:
    assert " ".join(" ".join(plain(flow(Text(text), width))).split()) == text


def test_lines_are_broken_on_a_terminal_only() -> None:
    for terminal, lines in ((True, ["  one two", "      three"]), (False, ["  one two three"])):
        file = io.StringIO()
        console = Console(file=file, width=11, force_terminal=terminal)
        assert width_of(console) == (11 if terminal else None)
        print_lines([Text("  one two three")], console)
        assert file.getvalue().splitlines() == lines
