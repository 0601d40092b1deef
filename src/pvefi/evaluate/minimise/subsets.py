# SPDX-License-Identifier: GPL-2.0-or-later
"""Delta debugging: a small set of which nothing can be left out, by tests of other sets.

The algorithm is Zeller's and Hildebrandt's ddmin ("Simplifying and Isolating Failure-Inducing Input", IEEE
Transactions on Software Engineering 28, 2002).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TypeVar

__all__ = ["smallest"]

T = TypeVar("T")


def smallest(
    members: Sequence[T], passes: Callable[[Sequence[frozenset[T]]], Sequence[bool]]
) -> tuple[T, ...]:
    """Return members that pass together, in their order, such that none of them can be left out singly.

    `passes` says of each of several sets whether it passes; all members together do. Fewer may do: what is
    found is minimal, not the smallest of all. It is asked about sets that are tested at once.
    """
    if passes([frozenset()])[0]:
        return ()
    kept, parts = tuple(members), 2
    while len(kept) > 1:
        chunks = _split(kept, min(parts, len(kept)))
        rests = [tuple(one for one in kept if one not in chunk) for chunk in chunks]
        tried = [*chunks, *(rests if len(chunks) > 2 else ())]
        verdicts = passes([frozenset(one) for one in tried])
        found = next((at for at, passed in enumerate(verdicts) if passed), None)
        if found is not None:
            kept = tried[found]
            parts = 2 if found < len(chunks) else max(parts - 1, 2)
        elif len(chunks) == len(kept):
            break
        else:
            parts = min(2 * parts, len(kept))
    return kept


def _split(members: tuple[T, ...], parts: int) -> list[tuple[T, ...]]:
    """Return `members` in so many parts of as equal a size as can be, none empty."""
    edges = [len(members) * at // parts for at in range(parts + 1)]
    return [members[start:end] for start, end in itertools.pairwise(edges)]
