# SPDX-License-Identifier: GPL-2.0-or-later
"""The figures of evaluations, made of what the measurements gave: pure, as `figures` is."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from bench.figures import Figure, Table

__all__ = [
    "EvaluateRound",
    "EvaluateSamples",
    "KilledWorker",
    "MinimiseRound",
    "ReportSample",
    "evaluate_figures_of",
    "evaluate_tables_of",
]


@dataclass(frozen=True)
class EvaluateRound:
    """Seconds of `pvefi evaluate` with two jobs, and of the same boots one by one, right after it."""

    together: float
    boots: tuple[float, ...]


@dataclass(frozen=True)
class MinimiseRound:
    """Seconds of `pvefi minimise`, and of its experiments alone by branches, and by whole boots; of how many.

    The last two leave out what is tried on QEMU, which is the same for both; None where they were not run.
    """

    seconds: float
    branching: float | None
    whole: float | None
    boots: int


@dataclass(frozen=True)
class ReportSample:
    """The size of a report.html in bytes, and the seconds until Chromium has loaded it, of each load."""

    size: int
    loads: tuple[float, ...]


@dataclass(frozen=True)
class KilledWorker:
    """Boots that a cluster ran for `tasks` tasks, of which `running` ran on the worker that was killed."""

    tasks: int
    running: int
    boots: int

    @property
    def thrown_away(self) -> int:
        """Boots besides one for each task, and one more for each that ran on the worker."""
        return self.boots - self.tasks - self.running


@dataclass(frozen=True)
class EvaluateSamples:
    """Everything that was measured of evaluations; nothing in it where a part was left out."""

    evaluations: tuple[EvaluateRound, ...]
    minimisations: tuple[MinimiseRound, ...]
    reports: tuple[ReportSample, ...]
    kills: tuple[KilledWorker, ...]


def evaluate_figures_of(samples: EvaluateSamples) -> list[Figure]:
    """Return the figures in the order of the documentation."""
    return [
        Figure(
            "evaluate-two-jobs",
            "evaluate, 5 entries, 2 jobs, to half the sum of the boots",
            "x",
            1.3,
            tuple(2 * one.together / sum(one.boots) for one in samples.evaluations),
            "wall clock of the whole process with its reports, over half the sum of five `boot --count`, one "
            "after the other; one kernel, embedded machine",
            at_most=True,
        ),
        Figure(
            "minimise",
            "minimise",
            "s",
            600,
            tuple(one.seconds for one in samples.minimisations),
            "wall clock of the whole process: one kernel, to its hand-off on the embedded machine; what is "
            "found is tried on QEMU, too",
        ),
        Figure(
            "minimise-whole-boots",
            "minimise, to the same experiments as whole boots",
            "x",
            0.333,
            tuple(one.branching / one.whole for one in samples.minimisations if one.branching and one.whole),
            "ratio of the wall clocks, one right after the other, without QEMU: the emulator forks at the "
            "call where an experiment parts from the others, or boots from the start for each",
            at_most=True,
        ),
        Figure(
            "report-size",
            "report.html of 20 images x 5 entries",
            "MB",
            3,
            tuple(one.size / 1e6 for one in samples.reports),
            "an evaluation on embedded and qemu, whose image stands for 20, by names and hashes of their own",
        ),
        Figure(
            "report-load",
            "the same, until loaded in Chromium",
            "s",
            1,
            tuple(load for one in samples.reports for load in one.loads),
            "from the start of the navigation to the end of the load event, by the browser's own clock; "
            "headless, each in a profile of its own",
        ),
        Figure(
            "worker-killed",
            "work thrown away when a worker dies",
            "",
            0,
            tuple(float(one.thrown_away) for one in samples.kills),
            "boots that ran again besides those that ran on it, as the workers' own Pythons tell of the "
            "processes they start; Dask, a scheduler and 3 workers on loopback, one ended by SIGKILL",
            at_most=True,
        ),
    ]


def evaluate_tables_of(samples: EvaluateSamples) -> list[Table]:
    """Return the measurements behind them."""
    tables = []
    if rounds := samples.evaluations:
        row = (
            f"{median(one.together for one in rounds):.2f}",
            f"{median(sum(one.boots) for one in rounds):.2f}",
            str(len(rounds[0].boots)),
        )
        tables.append(
            Table("Evaluations, seconds", ("together, 2 jobs", "boots one by one", "boots"), (row,))
        )
    if tries := samples.minimisations:
        rows = tuple(
            (f"{one.seconds:.1f}", _seconds(one.branching), _seconds(one.whole), str(one.boots))
            for one in tries
        )
        titles = ("all of it", "with branches, without QEMU", "whole boots, without QEMU", "boots")
        tables.append(Table("Minimising, seconds", titles, rows))
    if kills := samples.kills:
        head = ("tasks", "of them on the worker that was killed", "boots")
        counts = tuple((str(one.tasks), str(one.running), str(one.boots)) for one in kills)
        tables.append(Table("A killed worker", head, counts))
    return tables


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
