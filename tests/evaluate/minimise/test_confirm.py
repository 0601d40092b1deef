# SPDX-License-Identifier: GPL-2.0-or-later
"""What QEMU says of a result, with an engine that answers as one would."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pvefi.efi.profiles import PROFILES, Profile
from pvefi.evaluate.engines.engine import Finished, Happening
from pvefi.evaluate.minimise.confirm import Confirmation, confirm
from pvefi.evaluate.minimise.goal import Reach, Wanted
from pvefi.evaluate.minimise.losses import Loss
from pvefi.evaluate.minimise.observed import Observed
from pvefi.evaluate.minimise.search import Effect, Found, Trial
from pvefi.evaluate.task import FileRef, Problem, Task, TaskKind, TaskResult
from pvefi.probe.witness import KERNEL_LOG
from pvefi.profile_file import profile_from_text
from pvefi.report.boot import to_json
from pvefi.spec.uefi.status import EfiStatus
from pvefi.verdict import Milestone, Outcome, Verdict
from tests.report.made import result

LINUX = PROFILES["linux"]
TASK = Task(FileRef("vmlinuz", "0" * 64, 1), "efi", "embedded", TaskKind.HANDOFF)
RANDOM = Loss("RNG_PROTOCOL", EfiStatus.NOT_FOUND)
SEEN = Observed(True, "there")
FOUND = Found(
    base=SEEN,
    uses=(("RNG_PROTOCOL", 1), ("GetTime", 1)),
    unused=("SetTime",),
    trials=(
        Trial(RANDOM, Effect.DEGRADED, "there", ("calls GetRNG never, not once",), True, 1.0),
        Trial(Loss("GetTime", EfiStatus.NOT_FOUND), Effect.NOTHING, "there", (), True, 1.0),
        Trial(Loss("Stall"), Effect.DEGRADED, "there", ("calls",), False, 1.0),
    ),
    losses=frozenset({RANDOM, Loss("SetTime")}),
    needed=("GetTime",),
    final=SEEN,
    degraded=(),
    boots=3,
)


@dataclass
class Qemu:
    """An engine whose guests get to user space where `gets_there` says so of their profile."""

    gets_there: Callable[[Profile], bool] = lambda profile: True
    problem: Problem = Problem.NONE
    jobs: int = 1
    tasks: list[Task] = field(default_factory=list)

    def run(self, tasks: Sequence[Task], files: Mapping[str, Path]) -> Generator[Happening]:
        self.tasks += tasks
        return (Finished(self._result(task)) for task in tasks)

    def _result(self, task: Task) -> TaskResult:
        profile = profile_from_text(task.profile)
        there, random = self.gets_there(profile), profile.protocols == LINUX.protocols
        verdict = Verdict(Outcome.HANDOFF if task.kind is TaskKind.HANDOFF else Outcome.POWERED_OFF, "well")
        boot = result(
            verdict=verdict if there else Verdict(Outcome.PANICKED, "no init"),
            milestones={Milestone.USER_SPACE: 1.0} if there else {},
        )
        log = b"<6>[    1.0] random: seeded\n" if random else b""
        return TaskResult(
            task, self.problem, "no QEMU here", to_json(boot), (), "", {KERNEL_LOG: log}, None, 0, ""
        )


def confirmed(qemu: Qemu, reach: Reach = Reach.HANDOFF) -> Confirmation:
    return confirm(FOUND, TASK, {}, LINUX, Wanted(reach), qemu, lambda what, done, of: None)


def test_the_profile_and_each_loss_that_degrades_alone_are_tried() -> None:
    qemu = Qemu()
    told = confirmed(qemu)
    assert told.confirmed
    assert {*told.trials} == {RANDOM}
    assert {task.machine for task in qemu.tasks} == {"qemu"}
    assert [task.kind for task in qemu.tasks] == [TaskKind.HANDOFF] * 2 + [TaskKind.COUNT] * 3


def test_what_the_kernel_says_otherwise_is_told() -> None:
    told = confirmed(Qemu())
    line = 'kernel log lacks "random: seeded"'
    assert told.degraded == (line,)
    assert (told.trials[RANDOM].effect, told.trials[RANDOM].differences) == (Effect.DEGRADED, (line,))


def test_a_profile_that_does_not_get_to_the_goal_is_refuted() -> None:
    told = confirmed(Qemu(lambda profile: "SetTime" in profile.services))
    assert (told.confirmed, told.why) == (False, "on QEMU: panicked: no init")


def test_where_only_user_space_is_not_reached_that_is_a_degradation() -> None:
    class Later(Qemu):
        def _result(self, task: Task) -> TaskResult:
            self.gets_there = lambda profile: task.kind is TaskKind.HANDOFF or "SetTime" in profile.services
            return super()._result(task)

    told = confirmed(Later())
    assert told.confirmed
    assert told.degraded == ("user space is not reached: on QEMU: panicked: no init",)


def test_without_qemu_nothing_is_confirmed_and_it_says_why() -> None:
    told = confirmed(Qemu(problem=Problem.MACHINE))
    assert (told.confirmed, told.why) == (None, "no QEMU here")


@pytest.mark.parametrize("reach", [Reach.HANDOFF, Reach.EXIT])
def test_an_image_that_does_not_get_there_with_everything_on_qemu_confirms_nothing(reach: Reach) -> None:
    assert confirmed(Qemu(lambda profile: False), reach).confirmed is not True
