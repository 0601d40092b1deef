# SPDX-License-Identifier: GPL-2.0-or-later
"""What the arguments of 2016 are held against: kernels by entry, with the figures that several points use."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pvefi.evaluate.analysis.results import Stage, milestones, short_names, stage
from pvefi.evaluate.analysis.views import View, views
from pvefi.evaluate.run import Evaluation, ImageFacts
from pvefi.evaluate.task import TaskKind, TaskResult
from pvefi.verdict import Milestone

__all__ = [
    "Evidence",
    "Finding",
    "Kernel",
    "Point",
    "Speaks",
    "counted",
    "evidence_of",
    "exact_instructions",
    "listed",
    "median_milliseconds",
    "times",
    "unmeasured",
]

_LISTED = 4
"""Names that a sentence has room for."""


class Speaks(StrEnum):
    """How a finding bears on a point of the page."""

    FOR = "for it"
    AGAINST = "against it"
    UNDECIDED = "undecided"
    MEASURED = "measured"
    """For questions: here is a figure."""
    NOTHING = "not measured here"


@dataclass(frozen=True)
class Finding:
    """What a run shows on a point, and how that bears on it; `note` is what follows from no figure alone."""

    shows: str
    speaks: Speaks
    note: str = ""


@dataclass(frozen=True)
class Kernel:
    """One kernel and how it was booted, by entry."""

    name: str
    image: ImageFacts
    ways: tuple[View, ...]

    def way(self, entry: str) -> View | None:
        """Return the boots by this entry; None where nothing ran."""
        return next((view for view in self.ways if view.entry == entry and view.ran), None)

    def arrived(self, entry: str) -> bool:
        """Whether the kernel proper had control by this entry at least once, or more."""
        view = self.way(entry)
        return view is not None and any(stage(result) >= Stage.HANDOFF for result in view.results)


@dataclass(frozen=True)
class Evidence:
    """All that was booted: kernels, and programs that are none."""

    evaluation: Evaluation
    kernels: tuple[Kernel, ...]
    programs: tuple[Kernel, ...]

    def by(self, entry: str) -> list[tuple[Kernel, View]]:
        """Return the kernels that came to their kernel proper by an entry, with those boots."""
        found = [(kernel, kernel.way(entry)) for kernel in self.kernels if kernel.arrived(entry)]
        return [(kernel, view) for kernel, view in found if view is not None]


@dataclass(frozen=True)
class Point:
    """One heading of the page; `says` is its argument, in this project's words."""

    heading: str
    says: str
    find: Callable[[Evidence], Finding]


def evidence_of(evaluation: Evaluation) -> Evidence:
    """Return what there is to argue with."""
    names = short_names(evaluation)
    all_images = [
        Kernel(names[image.file.sha256], image, tuple(views(evaluation, image)))
        for image in evaluation.images
    ]
    return Evidence(
        evaluation,
        tuple(one for one in all_images if one.image.is_kernel),
        tuple(one for one in all_images if not one.image.is_kernel),
    )


def unmeasured(why: str) -> Finding:
    """Return the finding of a run that has nothing on a point."""
    return Finding(f"not measured here: {why}", Speaks.NOTHING)


def listed(names: Iterable[str], between: str = ", ") -> str:
    """Return names as a sentence has them, the first few of many."""
    different = list(dict.fromkeys(names))
    more = len(different) - _LISTED
    return between.join(different[:_LISTED]) + (f" and {more} more" if more > 0 else "")


def counted(count: int, one: str, many: str = "") -> str:
    """Return a number with its noun."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def times(value: float, base: float) -> str:
    """Return a ratio as "1.23 x"."""
    return f"{value / base:.3g} x"


def median_milliseconds(results: Sequence[TaskResult], machine: str) -> float | None:
    """Return the median time to user space of the timed boots on a machine; None where there is none."""
    found = [
        1000 * milestones(result)[Milestone.USER_SPACE]
        for result in results
        if result.task.kind is TaskKind.USERSPACE
        and result.task.machine == machine
        and Milestone.USER_SPACE in milestones(result)
    ]
    return statistics.median(found) if found else None


def exact_instructions(view: View) -> int | None:
    """Return the instructions from the machine's start to the hand-off, where they were counted."""
    for result in view.results:
        count = result.boot.get("instructions")
        if result.task.kind is TaskKind.HANDOFF and isinstance(count, int) and stage(result) >= Stage.HANDOFF:
            return count
    return None
