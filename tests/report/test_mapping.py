# SPDX-License-Identifier: GPL-2.0-or-later
"""How the mapping of a kernel's segment is told."""

from __future__ import annotations

import pytest

from pvefi.report.mapping import rights_text
from pvefi.verdict import SegmentMapping


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ((4096, 4096, 4096, 4096), "rwx"),
        ((4096, 0, 4096, 0), "r-x"),
        ((4096, 4096, 0, 0), "rw-"),
        ((4096, 0, 0, 0), "r--"),
        ((0, 0, 0, 0), "not mapped"),
        ((4096, 1024, 4096, 1024), "1 KiB writable, 4 KiB executable, 1 KiB both at once"),
        ((1024, 1024, 1024, 1024), "3 KiB not mapped, 1 KiB writable, 1 KiB executable, 1 KiB both at once"),
    ],
)
def test_a_segment_is_told_in_a_word_where_it_is_all_alike(
    counts: tuple[int, int, int, int], told: str
) -> None:
    assert rights_text(SegmentMapping(0x1000000, 4096, "r-x", *counts)) == told
