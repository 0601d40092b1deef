# SPDX-License-Identifier: GPL-2.0-or-later
"""Boots with services and protocols taken away: as branches of one boot, or each as a whole one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
    """Boots one image with this or that taken away from one profile."""

    def run(self, trunk: Losses, variants: Sequence[Losses]) -> Iterator[tuple[Losses, Observed]]:
        """Boot without `trunk` and without each of `variants`, which all have more than that.

        Yield each with what came of it, in any order. UsageError when the image cannot be booted at all,
        MachineError when the machine fails.
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

    def run(self, trunk: Losses, variants: Sequence[Losses]) -> Iterator[tuple[Losses, Observed]]:
        """Boot without `trunk`, and let the variants branch off; see `Experiments`."""
        base = self.prepared.options.profile
        prepared = replace(
            self.prepared, options=replace(self.prepared.options, profile=without(base, trunk))
        )
        parting = _Parting(base, trunk, variants)
        there = set()
        end = None
        for result in explore(prepared, parting, self.jobs, Limits(self.timeout, self.timeout)):
            if result.place is None:
                end = self._observed(result)
                continue
            losses = variants[int(result.name)]
            there.add(losses)
            yield losses, self._observed(result)
        if end is None:
            raise MachineError("a boot on the embedded machine has told nothing of its end")
        yield trunk, end
        for losses in variants:  # they never used what they lack
            if losses not in there:
                yield losses, replace(end, seconds=0.0)

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

    def run(self, trunk: Losses, variants: Sequence[Losses]) -> Iterator[tuple[Losses, Observed]]:
        """Boot each; see `Experiments`."""
        tasks = {
            replace(self.task, profile=profile_to_text(without(self.base, losses))).id: losses
            for losses in (trunk, *variants)
        }
        orders = [
            replace(self.task, profile=profile_to_text(without(self.base, losses)))
            for losses in dict.fromkeys((trunk, *variants))
        ]
        for happening in self.engine.run(orders, self.files):
            if isinstance(happening, Finished):
                yield tasks[happening.result.task.id], self._observed(happening.result)

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
