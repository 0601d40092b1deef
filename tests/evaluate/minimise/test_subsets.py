# SPDX-License-Identifier: GPL-2.0-or-later
"""Delta debugging against oracles that are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvefi.evaluate.minimise.subsets import smallest

MEMBERS = tuple(range(12))
Oracle = Callable[[frozenset[int]], bool]


class Asked:
    """Answers by an oracle, and counts what it is asked."""

    def __init__(self, oracle: Oracle) -> None:
        self._oracle = oracle
        self.batches: list[int] = []

    def __call__(self, sets: Sequence[frozenset[int]]) -> list[bool]:
        self.batches.append(len(sets))
        return [self._oracle(one) for one in sets]


def is_minimal(kept: tuple[int, ...], oracle: Oracle) -> bool:
    return oracle(frozenset(kept)) and not any(oracle(frozenset(kept) - {one}) for one in kept)


@pytest.mark.parametrize("needed", [(), (0,), (11,), (5,), (0, 11), (3, 4, 5), MEMBERS], ids=str)
def test_what_is_needed_is_found_whatever_else_there_is(needed: tuple[int, ...]) -> None:
    assert smallest(MEMBERS, Asked(frozenset(needed).issubset)) == needed


def test_of_a_pair_of_which_one_does_one_is_left() -> None:
    kept = smallest(MEMBERS, Asked(lambda one: bool(one & {2, 9})))
    assert kept in ((2,), (9,))


def test_one_that_needs_another_is_kept_with_it_or_not_at_all() -> None:
    """5 alone breaks what 8 mends: a set passes with neither, or with both, if it has 1."""

    def oracle(one: frozenset[int]) -> bool:
        return 1 in one and ((5 in one) <= (8 in one))

    assert is_minimal(smallest(MEMBERS, Asked(oracle)), oracle)


@given(st.sets(st.frozensets(st.sampled_from(MEMBERS), min_size=1, max_size=4), min_size=1, max_size=5))
def test_the_result_is_minimal_for_any_choice_of_sets_that_do(enough: set[frozenset[int]]) -> None:
    def oracle(one: frozenset[int]) -> bool:
        return any(which <= one for which in enough)

    kept = smallest(MEMBERS, Asked(oracle))
    assert is_minimal(kept, oracle)
    assert list(kept) == sorted(kept)


@given(st.integers(), st.integers(0, 12))
def test_the_result_passes_and_is_minimal_for_any_oracle_at_all(seed: int, size: int) -> None:
    members = MEMBERS[:size]

    def oracle(one: frozenset[int]) -> bool:
        return one == frozenset(members) or hash((seed, one)) % 3 == 0

    assert is_minimal(smallest(members, Asked(oracle)), oracle)


def test_much_is_asked_at_once() -> None:
    asked = Asked(frozenset({2, 9}).issubset)
    smallest(MEMBERS, asked)
    assert len(asked.batches) < sum(asked.batches) / 2
