# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

from dataclasses import replace

import pytest

from pvefi.evaluate.outcome import Ending, ending, words
from pvefi.evaluate.task import Problem, Task, TaskKind, TaskResult
from pvefi.trace.values import Json
from tests.evaluate.made import facts, task_result


def ended(kind: TaskKind, outcome: str, status: int | None = None, *passed: str) -> TaskResult:
    told: Json = None if status is None else {"value": status, "name": "whatever"}
    return task_result(
        Task(facts().file, "efi", "qemu", kind),
        boot={
            "verdict": {"outcome": outcome, "message": "so it is", "status": told},
            "milestones": dict.fromkeys(passed, 0.5),
        },
    )


@pytest.mark.parametrize(
    ("kind", "outcome", "status", "passed", "expected"),
    [
        (TaskKind.HANDOFF, "hand-off", None, (), Ending.REACHED),
        (TaskKind.HANDOFF, "exited", 0, (), Ending.REACHED),
        (TaskKind.HANDOFF, "exited", 1 << 63 | 2, (), Ending.FAILED),
        (TaskKind.HANDOFF, "powered off", None, (), Ending.FAILED),
        (TaskKind.USERSPACE, "user space", None, ("user space",), Ending.REACHED),
        (TaskKind.USERSPACE, "hand-off", None, (), Ending.FAILED),
        (TaskKind.USERSPACE, "panicked", None, (), Ending.FAILED),
        (TaskKind.USERSPACE, "exited", 0, (), Ending.FAILED),
        (TaskKind.FACTS, "powered off", None, ("user space",), Ending.REACHED),
        (TaskKind.FACTS, "powered off", None, (), Ending.FAILED),
        (TaskKind.COUNT, "rebooted", None, ("user space",), Ending.FAILED),
        (TaskKind.COUNT, "timed out", None, ("user space",), Ending.TIMED_OUT),
        (TaskKind.HANDOFF, "died", None, (), Ending.MACHINE),
    ],
)
def test_a_boot_has_reached_what_its_kind_is_about(
    kind: TaskKind, outcome: str, status: int | None, passed: tuple[str, ...], expected: Ending
) -> None:
    assert ending(ended(kind, outcome, status, *passed)) is expected


def test_xen_that_ends_by_itself_has_not_done_what_it_was_started_for() -> None:
    made = ended(TaskKind.HANDOFF, "exited", 0)
    assert ending(replace(made, console="Xen 4.17.7 (c/s ) EFI loader\r\n")) is Ending.FAILED
    assert ending(replace(made, console="Xenon 4.17 boot loader\r\n")) is Ending.REACHED


@pytest.mark.parametrize(
    ("problem", "expected"),
    [
        (Problem.INPUT, Ending.INPUT),
        (Problem.MACHINE, Ending.MACHINE),
        (Problem.CRASHED, Ending.MACHINE),
        (Problem.STUCK, Ending.TIMED_OUT),
    ],
)
def test_a_boot_that_could_not_be_made_ends_as_its_problem_says(problem: Problem, expected: Ending) -> None:
    result = task_result(
        Task(facts().file, "efi", "qemu", TaskKind.FACTS), problem=problem, why="so", boot={}
    )
    assert ending(result) is expected
    assert words(result) == f"{problem}: so"


def test_a_document_that_makes_no_sense_is_a_failure() -> None:
    broken = task_result(Task(facts().file, "efi", "qemu", TaskKind.FACTS), boot={"verdict": 7})
    assert ending(broken) is Ending.FAILED


def test_the_verdict_is_told_in_its_own_words() -> None:
    assert words(ended(TaskKind.HANDOFF, "faulted")) == "faulted: so it is"
