# SPDX-License-Identifier: GPL-2.0-or-later
"""Which elements of two sequences correspond: a longest common subsequence, by Myers's greedy algorithm.

E. W. Myers, "An O(ND) Difference Algorithm and Its Variations", Algorithmica 1 (1986). Where the sequences
have little in common it goes on from the furthest point that a bounded number of edits reaches: no longer the
shortest answer, but one in bounded time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

__all__ = ["matching"]

_EDITS_AT_ONCE = 512


def matching(a: Sequence[int], b: Sequence[int]) -> list[tuple[int, int]]:
    """Return pairs of positions whose elements are equal, ascending in both, as many as can be."""
    in_a, in_b = set(a), set(b)
    at_a = [at for at, element in enumerate(a) if element in in_b]
    at_b = [at for at, element in enumerate(b) if element in in_a]
    pairs = _matching([a[at] for at in at_a], [b[at] for at in at_b])
    return [(at_a[x], at_b[y]) for x, y in pairs]


def _matching(a: Sequence[int], b: Sequence[int]) -> list[tuple[int, int]]:
    end_a, end_b = len(a), len(b)
    while end_a and end_b and a[end_a - 1] == b[end_b - 1]:
        end_a, end_b = end_a - 1, end_b - 1
    pairs: list[tuple[int, int]] = []
    x = y = 0
    while x < end_a and y < end_b:
        found, x, y = _stretch(a, b, (x, y), (end_a, end_b))
        pairs += found
    return pairs + [(end_a + at, end_b + at) for at in range(len(a) - end_a)]


Front = dict[int, int]
"""The furthest x reached on each diagonal; y is x minus the diagonal."""


def _stretch(
    a: Sequence[int], b: Sequence[int], start: tuple[int, int], end: tuple[int, int]
) -> tuple[list[tuple[int, int]], int, int]:
    """Return the pairs from `start` to as near to `end` as the bound allows, and where that is."""
    x0, y0 = start
    n, m = end[0] - x0, end[1] - y0
    fronts: list[Front] = []
    for edits in range(min(n + m, _EDITS_AT_ONCE) + 1):
        front: Front = {}
        for k in range(-edits, edits + 1, 2):
            x = _before_equals(fronts[-1], k, n, m)[0] if fronts else 0
            if x < 0:
                continue
            while x < n and x - k < m and a[x0 + x] == b[y0 + x - k]:
                x += 1
            front[k] = x
        fronts.append(front)
        if front.get(n - m) == n:
            break
    k = max(fronts[-1], key=lambda k: 2 * fronts[-1][k] - k)
    x = fronts[-1][k]
    pairs = [(x0 + at, y0 + at - on) for at, on in _backwards(fronts, k, n, m)]
    return pairs[::-1], x0 + x, y0 + x - k


def _before_equals(front: Front, k: int, n: int, m: int) -> tuple[int, int]:
    """Return where one edit from `front` gets on diagonal `k`, and from which diagonal; -1 for nowhere."""
    right, down = front.get(k - 1, n), front.get(k + 1, -1)
    right = right + 1 if right < n else -1
    if down - k > m:
        down = -1
    return (right, k - 1) if right > down else (down, k + 1)


def _backwards(fronts: Sequence[Front], k: int, n: int, m: int) -> Iterator[tuple[int, int]]:
    """Yield x and diagonal of every pair on the way to the last front's point on diagonal `k`."""
    for edits in range(len(fronts) - 1, -1, -1):
        first, before = _before_equals(fronts[edits - 1], k, n, m) if edits else (0, 0)
        for x in range(fronts[edits][k] - 1, first - 1, -1):
            yield x, k
        k = before
