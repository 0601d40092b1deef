# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import pytest

from pvefi.report.text import fact_lines, hex_bytes, section, size_text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (1001, "1001 bytes"),
        (1024, "1 KiB"),
        (1025, "1025 bytes"),
        (636 << 10, "636 KiB"),
        (0x2F3C000, "47.2 MiB"),
        (512 << 20, "512 MiB"),
        (12 << 30, "12 GiB"),
        (1 << 64, "16 EiB"),
    ],
)
def test_a_size_is_told_in_the_largest_fitting_unit(size: int, text: str) -> None:
    assert size_text(size) == text


def test_bytes_that_differ_stand_out() -> None:
    text = hex_bytes(b"\x48\x8d\x25", b"\x48\x8e")
    assert text.plain == "48 8d 25"
    assert [text.plain[span.start : span.end] for span in text.spans] == ["8d", "25"]


def test_an_empty_section_has_no_title() -> None:
    assert section("registers", []) == []


def test_a_facts_further_lines_stand_below_its_first() -> None:
    first, second = fact_lines([("image", ["vmlinuz", "sha256"])])
    assert first.plain.index("vmlinuz") == second.plain.index("sha256")
    assert first.plain.startswith("  image ")
