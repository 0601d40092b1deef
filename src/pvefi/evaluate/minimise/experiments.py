# SPDX-License-Identifier: GPL-2.0-or-later
"""Boots with services and protocols taken away: as branches of one boot, or each as a whole one."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from pvefi.efi.environment import Environment
from pvefi.efi.intervention import Arrival
from pvefi.efi.narrow import narrow
from pvefi.efi.profiles import Profile
from pvefi.errors import MachineError, UsageError
from pvefi.evaluate.branches import Branch, BranchResult, Limits, explore
from pvefi.evaluate.engines.engine import Engine, Finished
from pvefi.evaluate.minimise.calls import things_at
from pvefi.evaluate.minimise.goal import Wanted
from pvefi.evaluate.minimise.losses import Losses, things_of, without
from pvefi.evaluate.minimise.observed import Observed, failed, observed
from pvefi.evaluate.outcome import words
from pvefi.evaluate.task import Problem, Task, TaskResult
from pvefi.prepare import PreparedBoot
from pvefi.probe.witness import KERNEL_LOG
from pvefi.profile_file import profile_to_text
from pvefi.report.boot import to_json
from pvefi.trace.jsonl import event_to_json

__all__ = ["Branches", "Experiments", "WholeBoots"]


class Experiments(Protocol):
    """Boots one image with this or that taken away from one profile.

    With `parts` a variant costs nothing that never uses what it lacks.
    """

    @property
    def parts(self) -> bool:
        """Whether variants are branches of the trunk."""
        ...

    def run(
        self, trunk: Losses, variants: Sequence[Losses], *, known: bool = False
    ) -> Generator[tuple[Losses, Observed]]:
        """Boot without `trunk` and without each of `variants`, which all have more than that.

        The trunk need not be told of when what comes of it is `known`.
        Yield each with what came of it, in any order; a variant that is not told of is as the trunk.
        UsageError when the image cannot be booted at all,
        MachineError when the machine fails. Closing the iterator ends all that runs.
        """
        ...


@dataclass(frozen=True)
class Branches:
    """Branches of one boot on the embedded machine: a variant parts where first something lost is used.

    `timeout` is in seconds, and bounds each boot from where it parts; None is by what the trunk takes.
    """

    prepared: PreparedBoot
    wanted: Wanted
    jobs: int
    timeout: float
    parts: bool = True

    def run(
        self, trunk: Losses, variants: Sequence[Losses], *, known: bool = False
    ) -> Generator[tuple[Losses, Observed]]:
        """Boot without `trunk`, and let the variants branch off; see `Experiments`."""
        base = self.prepared.options.profile
        prepared = replace(
            self.prepared, options=replace(self.prepared.options, profile=without(base, trunk))
        )
        parting = _Parting(base, trunk, variants)
        end = None
        limits = Limits(self.timeout, self.timeout)
        with closing(explore(prepared, parting, self.jobs, limits)) as results:
            for result in results:
                if result.place is None:
                    end = self._observed(result)
                else:
                    yield variants[int(result.name)], self._observed(result)
        if end is None:
            raise MachineError("a boot on the embedded machine has told nothing of its end")
        yield trunk, end

    def _observed(self, result: BranchResult) -> Observed:
        if result.boot is None:
            return failed(f"{result.end.value}: {result.why}", result.cpu_seconds)
        lines = [event_to_json(call) for call in result.boot.calls]
        return observed(self.wanted, to_json(result.boot), lines, seconds=result.cpu_seconds)


class _Parting:
    """Says at each call of the trunk which variants part there."""

    def __init__(self, base: Profile, trunk: Losses, variants: Sequence[Losses]) -> None:
        self._waiting = {
            str(at): (things_of(losses - trunk), partial(narrow, profile=without(base, losses)))
            for at, losses in enumerate(variants)
        }

    def __call__(self, _efi: Environment, arrival: Arrival) -> Sequence[Branch]:
        if not self._waiting:
            return ()
        things = things_at(arrival)
        names = [name for name, (lost, _) in self._waiting.items() if lost & things]
        return [Branch(name, change=self._waiting.pop(name)[1]) for name in names]


@dataclass(frozen=True)
class WholeBoots:
    """Every variant as a boot of its own, from the machine's start; `task` is the one without any loss."""

    task: Task
    files: Mapping[str, Path]
    base: Profile
    wanted: Wanted
    engine: Engine
    parts: bool = False

    def run(
        self, trunk: Losses, variants: Sequence[Losses], *, known: bool = False
    ) -> Generator[tuple[Losses, Observed]]:
        """Boot each; see `Experiments`."""
        asked = variants if known else (trunk, *variants)
        tasks = [
            (replace(self.task, profile=profile_to_text(without(self.base, losses))), losses)
            for losses in dict.fromkeys(asked)
        ]
        losses_of = {task.id: losses for task, losses in tasks}
        with closing(self.engine.run([task for task, _ in tasks], self.files)) as happenings:
            for happening in happenings:
                if isinstance(happening, Finished):
                    yield losses_of[happening.result.task.id], self._observed(happening.result)

    def _observed(self, result: TaskResult) -> Observed:
        match result.problem:
            case Problem.INPUT:
                raise UsageError(result.why)
            case Problem.MACHINE:
                raise MachineError(result.why)
            case Problem.CRASHED | Problem.STUCK:
                return failed(words(result))
        seconds = result.boot.get("seconds")
        return observed(
            self.wanted,
            result.boot,
            result.calls,
            result.files.get(KERNEL_LOG),
            float(seconds) if isinstance(seconds, int | float) else 0.0,
        )
