# SPDX-License-Identifier: GPL-2.0-or-later
"""From a sequence that two hosts see differently to the shortest one they do.

A run of OVMF costs seconds and a sequence nearly nothing, so all candidates of a round share one run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pvefi.spec.uefi.guids import GLOBAL_VARIABLE
from tests.variables_against_ovmf.batch import Operations, is_shared
from tests.variables_against_ovmf.model import GLOBALS
from tests.variables_against_ovmf.operations import ExitBootServices, SetVariable, wide

ROUNDS = 12

Judge = Callable[[Sequence[Operations]], list[bool]]
"""Tells of each sequence whether two hosts see it differently."""


def shortest(operations: Operations, differ: Judge) -> Operations:
    """Return the shortest part of `operations` found that differs still."""
    for _ in range(ROUNDS):
        candidates = [_tidy(one) for one in _parts(operations)]
        verdicts = differ(candidates) if candidates else []
        found = [one for one, bad in zip(_parts(operations), verdicts, strict=True) if bad]
        if not found:
            break
        operations = min(found, key=len)
    return operations


def _parts(operations: Operations) -> list[Operations]:
    """Return what is left of `operations` without each half, quarter, and so on to each single one."""
    parts: list[Operations] = []
    size = len(operations) // 2
    while size:
        for start in range(0, len(operations), size):
            taken = operations[start : start + size]
            kept = [one for one in taken if isinstance(one, ExitBootServices)]
            if len(kept) < len(taken) and (left := operations[:start] + kept + operations[start + size :]):
                parts.append(left)
        size //= 2
    return parts


def _tidy(operations: Operations) -> Operations:
    """Return the operations, and what they may leave behind for other sequences deleted."""
    if not any(is_shared(one) for one in operations):
        return operations
    return operations + [
        SetVariable(wide(name), GLOBAL_VARIABLE, attributes, None) for name, attributes in GLOBALS.items()
    ]
