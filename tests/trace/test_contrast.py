# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pvefi.trace.contrast import WIDTH, Contrast, contrast_lines, shown_apart

words = st.text(st.sampled_from("ab c"), max_size=300)
rows = st.lists(st.builds(Contrast, st.text("ab", min_size=1, max_size=30), words, words, words), max_size=5)


def plain(*made: Contrast, head: str = "") -> list[str]:
    return [line.plain for line in contrast_lines(made, head=head)]


def test_names_and_values_stand_in_columns() -> None:
    assert plain(
        Contrast("rax", "0x10", "0x2"), Contrast("r8", "0x1", "0x222", "a count", "@"), head="x"
    ) == [
        "  x    A     B",
        "  rax  0x10  0x2",
        "@ r8   0x1   0x222  a count",
    ]


def test_no_rows_are_no_lines() -> None:
    assert contrast_lines([], head="x") == []


def test_values_that_are_too_long_stand_below() -> None:
    assert plain(Contrast("command_line", "x" * 60, "y")) == [
        "  command_line",
        f"    A  {'x' * 60}",
        "    B  y",
    ]


def test_a_meaning_without_room_stands_below() -> None:
    lines = plain(Contrast("map", "a" * 20, "b" * 20, "many words " * 20))
    assert len(lines) > 2
    assert lines[0].endswith("b" * 20)


@given(rows, st.integers(0, 12))
def test_no_line_is_wider_than_it_may_be(made: list[Contrast], indent: int) -> None:
    made = [Contrast(row.name, row.a[:60], row.b, row.meaning, row.mark) for row in made]
    for line in contrast_lines(made, indent=indent):
        assert len(line.plain) <= WIDTH or max(map(len, line.plain.split())) > WIDTH - indent - 30


@given(words, words, st.integers(20, 80))
def test_texts_that_differ_are_shown_differing(a: str, b: str, limit: int) -> None:
    one, two = shown_apart(a, b, limit)
    assert (one == two) == (a == b)
    assert len(one) <= limit + 6
