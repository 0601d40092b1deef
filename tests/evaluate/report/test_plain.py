# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests of text as reports may show it."""

from __future__ import annotations

from pvefi.evaluate.report.plain import names_apart, plain, slug
from tests.build.evaluation import HOSTILE


def test_text_loses_nothing_that_can_be_read_and_gains_nothing_that_moves() -> None:
    shown = plain(HOSTILE, 1000)
    assert shown.isprintable()
    assert r"\x1b[31mred" in shown
    assert r"\u202edlrow" in shown
    assert r"\ud800 \x00" in shown


def test_long_text_is_cut_and_says_by_how_much() -> None:
    shown = plain("x" * 1_000_000, 100)
    assert shown == f"{'x' * 100} … (999,900 more characters)"
    assert plain("x" * 100, 100) == "x" * 100


def test_a_slug_is_a_name_for_files_and_anchors_whatever_it_is_made_of() -> None:
    assert slug("Memory map: before ExitBootServices") == "memory-map-before-exitbootservices"
    assert slug("../../etc/passwd") == "etc-passwd"
    assert slug("\u202e") == "part"
    assert len(slug("x" * 1000)) <= 60


def test_equal_names_get_numbers_that_no_other_has() -> None:
    assert list(names_apart(["a", "b", "a", "a", "a-2"])) == ["a", "b", "a-2", "a-3", "a-2-2"]
