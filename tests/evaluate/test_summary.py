# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

from dataclasses import replace

from pvefi.evaluate.plan import Wish, make_plan
from pvefi.evaluate.run import Evaluation, Gap, Host
from pvefi.evaluate.summary import summary_lines
from pvefi.evaluate.task import Problem
from tests.evaluate.made import facts, task_result


def evaluation() -> Evaluation:
    plan = make_plan([facts()], Wish(machines=("embedded",), entries=("efi", "pvh"), repeat=2), {})
    outcomes = ["hand-off", "hand-off", "faulted", "timed out"]
    return Evaluation(
        command="pvefi evaluate",
        started="",
        seconds=2.5,
        repeat=2,
        jobs=2,
        host=Host("", 1, "", "", "", ()),
        images=(facts(),),
        machines=("embedded",),
        results=tuple(task_result(task, outcome) for task, outcome in zip(plan.tasks, outcomes, strict=True)),
        gaps=(),
    )


def text(told: Evaluation) -> str:
    return "\n".join(line.plain for line in summary_lines(told))


def test_every_way_has_its_line_and_every_failure_its_reason() -> None:
    assert text(evaluation()) == (
        "4 boots of 6.0 s together, run in 2.5 s, 2 at once\n"
        "  vmlinuz  embedded  efi  handoff 1/2 failed\n"
        "  vmlinuz  embedded  pvh  handoff 1/2 timed out\n"
        "failed:\n"
        "  vmlinuz efi embedded handoff #2: faulted: so it is\n"
        "  vmlinuz pvh embedded handoff #2: timed out: so it is"
    )


def test_what_an_earlier_run_has_left_is_told() -> None:
    told = "4 boots of 6.0 s together, "
    some, every = text(replace(evaluation(), reused=3)), text(replace(evaluation(), reused=4))
    assert some.startswith(f"{told}3 by an earlier run and 1 now in 2.5 s, 2 at once\n")
    assert every.startswith(f"{told}all by an earlier run\n")


def test_gaps_are_told_and_long_lists_are_cut() -> None:
    gaps = tuple(Gap(f"image{number}", Problem.INPUT, "x" * 1000) for number in range(50))
    lines = text(replace(evaluation(), gaps=gaps)).splitlines()
    missing = lines[lines.index("missing:") + 1 :]
    assert len(missing) == 21
    assert missing[-1] == "  and 30 more: see the reports"
    assert max(map(len, missing)) < 400


def test_a_guests_words_do_not_steer_the_terminal() -> None:
    told = evaluation()
    bad = task_result(told.results[0].task, problem=Problem.CRASHED, why="\x1b]0;owned\x07\n\u202e")
    assert text(replace(told, results=(bad,))).splitlines()[-1] == (
        "  vmlinuz efi embedded handoff: crashed: \\x1b]0;owned\\x07\\n\\u202e"
    )
