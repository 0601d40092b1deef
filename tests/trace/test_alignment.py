# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvefi.trace import alignment
from pvefi.trace.alignment import matching

sequences = st.lists(st.integers(0, 3), max_size=14)


def longest_common(a: Sequence[int], b: Sequence[int]) -> int:
    row = [0] * (len(b) + 1)
    for one in a:
        before, row = row, [0]
        for at, two in enumerate(b):
            row.append(before[at] + 1 if one == two else max(before[at + 1], row[-1]))
    return row[-1]


def check(a: Sequence[int], b: Sequence[int], pairs: Sequence[tuple[int, int]]) -> None:
    assert all(a[x] == b[y] for x, y in pairs)
    assert all(x < next_x and y < next_y for (x, y), (next_x, next_y) in pairwise(pairs))


@given(sequences, sequences)
def test_as_many_elements_are_paired_as_can_be(a: list[int], b: list[int]) -> None:
    pairs = matching(a, b)
    check(a, b, pairs)
    assert len(pairs) == longest_common(a, b)


@given(sequences)
def test_a_sequence_is_paired_with_itself_one_by_one(a: list[int]) -> None:
    assert matching(a, a) == [(at, at) for at in range(len(a))]


@given(sequences, sequences, st.integers(1, 4))
def test_a_small_bound_still_gives_pairs_in_order(a: list[int], b: list[int], bound: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alignment, "_EDITS_AT_ONCE", bound)
        check(a, b, matching(a, b))


def test_long_sequences_with_little_in_common_take_no_forever() -> None:
    source = random.Random(1)
    a, b = ([source.randrange(500) for _ in range(4000)] for _ in range(2))
    pairs = matching(a, b)
    check(a, b, pairs)
    assert len(pairs) > 100
    assert matching(range(50_000), range(50_000, 100_000)) == []
