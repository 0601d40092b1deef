# SPDX-License-Identifier: GPL-2.0-or-later
"""From a sequence that two hosts see differently to the shortest one they do.

A run of OVMF costs seconds and a sequence nearly nothing, so all candidates of a round share one run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from tests.variables_against_ovmf.batch import Operations
from tests.variables_against_ovmf.operations import ExitBootServices, SetVariable

Judge = Callable[[Sequence[Operations]], list[bool]]
"""Tells of each sequence whether two hosts see it differently."""


def shortest(operations: Operations, differ: Judge) -> Operations:
    """Return the shortest part of `operations` found that differs still."""
    size = len(operations) // 2
    while size:
        candidates = list(_without(operations, size))
        verdicts = differ([one + _tidied(one) for one in candidates])
        found = [one for one, bad in zip(candidates, verdicts, strict=True) if bad]
        if found:
            operations = min(found, key=len)
        size = min(size, len(operations)) if found and size < len(operations) else size // 2
    return operations


def _without(operations: Operations, size: int) -> Iterator[Operations]:
    """Yield what is left of `operations` without each run of `size` of them, but for ExitBootServices."""
    for start in range(0, len(operations), size):
        taken = operations[start : start + size]
        kept = [one for one in taken if isinstance(one, ExitBootServices)]
        if len(kept) < len(taken) and len(taken) < len(operations):
            yield operations[:start] + kept + operations[start + size :]


def _tidied(operations: Operations) -> Operations:
    """Return how to delete what the operations may have made, so that no other sequence finds it."""
    made = {(one.name, one.vendor): None for one in operations if isinstance(one, SetVariable)}
    return [SetVariable(name, vendor, 0, None) for name, vendor in made]
