# SPDX-License-Identifier: GPL-2.0-or-later
"""Says of a task's result whether it reached what it was to, and of what kind its failure is."""

from __future__ import annotations

import re
from enum import StrEnum

from pvefi.evaluate.task import Problem, TaskKind, TaskResult
from pvefi.trace.values import Json
from pvefi.verdict import Milestone, Outcome

__all__ = ["Ending", "ending", "says_xen", "words"]


class Ending(StrEnum):
    """How a task has ended, as far as an exit status tells."""

    REACHED = "reached"
    FAILED = "failed"
    """The guest failed."""
    INPUT = "input"
    MACHINE = "machine"
    TIMED_OUT = "timed out"


_XEN = re.compile(r"Xen \d[^\n]* EFI loader")
_ENDINGS = {
    Problem.INPUT: Ending.INPUT,
    Problem.MACHINE: Ending.MACHINE,
    Problem.CRASHED: Ending.MACHINE,
    Problem.STUCK: Ending.TIMED_OUT,
}


def ending(result: TaskResult) -> Ending:
    """Return how a task has ended: whether the guest reached what it was started for, else why not."""
    if result.problem is not Problem.NONE:
        return _ENDINGS[result.problem]
    outcome = _member(result.boot.get("verdict"), "outcome")
    if outcome == Outcome.TIMED_OUT.value:
        return Ending.TIMED_OUT
    if outcome == Outcome.DIED.value:
        return Ending.MACHINE
    return Ending.REACHED if _reached(result, outcome) else Ending.FAILED


def _reached(result: TaskResult, outcome: Json) -> bool:
    match result.task.kind:
        case TaskKind.HANDOFF:
            status = _member(_member(result.boot.get("verdict"), "status"), "value")
            well = outcome == Outcome.EXITED.value and status == 0 and not says_xen(result)
            return outcome == Outcome.HANDOFF.value or well
        case TaskKind.USERSPACE:
            return outcome == Outcome.USER_SPACE.value
        case TaskKind.FACTS | TaskKind.COUNT:
            passed = result.boot.get("milestones")
            there = isinstance(passed, dict) and Milestone.USER_SPACE.value in passed
            return there and outcome == Outcome.POWERED_OFF.value


def says_xen(result: TaskResult) -> bool:
    """Whether a program has said that it is Xen: Xen 4.17 xen/common/efi/boot.c, efi_start.

    It ends with EFI_SUCCESS when it cannot go on: that is no success.
    """
    return bool(_XEN.search(result.console))


def words(result: TaskResult) -> str:
    """Return in one line how a task has ended; what a guest or a file has in it is untrusted."""
    if result.problem is not Problem.NONE:
        return f"{result.problem}: {result.why}"
    verdict = result.boot.get("verdict")
    return f"{_member(verdict, 'outcome')}: {_member(verdict, 'message')}"


def _member(value: Json, name: str) -> Json:
    return value.get(name) if isinstance(value, dict) else None
