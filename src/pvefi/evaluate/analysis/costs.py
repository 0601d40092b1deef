# SPDX-License-Identifier: GPL-2.0-or-later
"""What each entry costs: instructions, milliseconds, and the boot's timeline.

Instructions are exact. Milliseconds are medians of repeats with the lowest and the highest, which says how
far they can be trusted; a ratio is to the best entry of the same image on the same machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

from pvefi.evaluate.analysis.memory_costs import memory_table
from pvefi.evaluate.analysis.results import (
    Stage,
    Way,
    milestones,
    not_measured,
    of,
    short_names,
    stage,
    times_text,
    ways,
    why_not,
)
from pvefi.evaluate.document import Cell, Mark, Picture, PictureKind, Section, Table, cell
from pvefi.evaluate.outcome import Ending, ending
from pvefi.evaluate.run import Evaluation, ImageFacts
from pvefi.evaluate.task import Problem, TaskKind, TaskResult
from pvefi.trace.values import Json
from pvefi.verdict import Milestone

__all__ = ["costs_section"]

_TIMED = (TaskKind.HANDOFF, TaskKind.USERSPACE)
_MILLISECONDS = 1000
_COUNTED = "counted ns to user space"
_COUNT_LIMIT = 1 << 63


def costs_section(evaluation: Evaluation) -> Section:
    """Return the costs of every image by every way."""
    parts: list[Table | Picture] = []
    for image in evaluation.images:
        for machine in dict.fromkeys(way.machine for way in ways(evaluation, image)):
            here = [way for way in ways(evaluation, image) if way.machine == machine]
            parts.append(_instructions(evaluation, image, here))
            parts += [_times(evaluation, image, here), *_timeline(evaluation, image, here)]
            parts.append(memory_table(evaluation, image, here))
    text = [_conditions(evaluation)]
    shown = tuple(part for part in parts if isinstance(part, Picture) or part.rows)
    return Section("cost", "What each entry costs", tuple(text), shown, short="Cost")


def _conditions(evaluation: Evaluation) -> str:
    results = evaluation.results
    repeats = max((1 + one.task.repetition for one in results if one.task.kind in _TIMED), default=0)
    told = (
        f"Each timed boot ran {times_text(repeats)} at most, all ways in turn. A time is the median, with "
        "the lowest and the highest of the repeats; it begins with the machine's start."
    )
    if min(evaluation.jobs, len(results)) > 1:
        told += (
            f" {evaluation.jobs} boots ran at once and disturbed each other's times: --jobs 1 measures them "
            "alone. Instructions are not disturbed."
        )
    return told


# ---------------------------------------------------------------- instructions


def _instructions(evaluation: Evaluation, image: ImageFacts, here: Sequence[Way]) -> Table:
    """Return the counts on one machine, of what was counted there at all."""
    exact = [of(evaluation, image, way, [TaskKind.HANDOFF]) for way in here]
    counted = [of(evaluation, image, way, [TaskKind.COUNT]) for way in here]
    goal = "to the hand-off" if image.is_kernel else "to its end"
    columns = {
        "to the image's first": [_number(results, "instructions_to_image") for results in exact],
        goal: [_to_goal(results, image) for results in exact],
        _COUNTED: [_counter(results) for results in counted],
    }
    told = {title: every for title, every in columns.items() if any(isinstance(one, int) for one in every)}
    rows = [
        (cell(way.entry), *(one for every in told.values() for one in (_count(every[at]), _ratio(every, at))))
        for at, way in enumerate(here)
    ]
    about = "Counted from the guest's first instruction, exactly."
    if _COUNTED in told:
        about = (
            "The guest's own time when its first process began, where QEMU's clock goes by a nanosecond for "
            "each instruction; what was spent waiting is in it."
        )
    return Table(
        f"{short_names(evaluation)[image.file.sha256]} on {here[0].machine}: instructions",
        ("entry", *(heading for title in told for heading in (title, "ratio"))),
        tuple(rows) if told else (),
        about,
        frozenset(range(1, 2 * len(told) + 1)),
    )


def _number(results: Sequence[TaskResult], name: str) -> int | str:
    """Return the first count of this name, or why there is none."""
    for result in results:
        value = result.boot.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _COUNT_LIMIT:
            return value
    return why_not(results) if any(one.problem for one in results) else "nothing was counted in these boots"


def _to_goal(results: Sequence[TaskResult], image: ImageFacts) -> int | str:
    """Return the count at the goal: a boot that did not come so far has none."""
    came = [
        result
        for result in results
        if (stage(result) >= Stage.HANDOFF if image.is_kernel else ending(result) is Ending.REACHED)
    ]
    return _number(came, "instructions") if came else why_not(results)


def _counter(results: Sequence[TaskResult]) -> int | str:
    for result in results:
        if result.counter is not None:
            return result.counter
    return why_not(results)


def _count(value: int | str) -> Cell:
    return not_measured(value) if isinstance(value, str) else cell(value)


def _ratio(values: Sequence[int | str], at: int) -> Cell:
    """Return the ratio of one to the best."""
    numbers = [value for value in values if isinstance(value, int)]
    own = values[at]
    return _quotient(float(own), min(numbers)) if isinstance(own, int) and len(numbers) > 1 else Cell("-")


def _quotient(value: float, best: float) -> Cell:
    if best <= 0:
        return Cell("-")
    ratio = value / best
    return Cell(f"{ratio:,.2f}" if ratio < 100 else f"{ratio:,.0f}", ratio, _best(ratio))


def _best(ratio: float) -> Mark:
    return Mark.BEST if ratio == 1 else Mark.NONE


# ---------------------------------------------------------------- time


def _times(evaluation: Evaluation, image: ImageFacts, here: Sequence[Way]) -> Table:
    every = (_HANDOFF, _USER_SPACE) if image.is_kernel else (_END,)
    taken = {goal: [_repeats(evaluation, image, way, goal) for way in here] for goal in (_IMAGE, *every)}
    goals = [goal for goal in every if any(isinstance(told, list) for told in taken[goal])]
    rows = []
    for at, way in enumerate(here):
        if not any(isinstance(taken[goal][at], list) for goal in (_IMAGE, *goals)):
            continue
        cells = [_time(taken[_IMAGE][at])]
        for goal in goals:
            cells += [_time(taken[goal][at]), _time_ratio(taken[goal][at], taken[goal])]
        rows.append((cell(way.entry), *cells, _host_time(evaluation, image, way)))
    name, machine = short_names(evaluation)[image.file.sha256], here[0].machine
    about = "Milliseconds: median (lowest - highest) of so many boots."
    if any(_counts(result) for way in here for result in of(evaluation, image, way, [TaskKind.HANDOFF])):
        about += " Boots that counted instructions, which are slower, are left out where others were timed."
    if machine == "qemu" and image.is_kernel:
        about += (
            " Boots to the hand-off are watched, which slows a decompressor; those to user space are not."
        )
    headings = [part for goal in goals for part in (goal.title, "ratio")]
    return Table(
        f"{name} on {machine}: milliseconds",
        ("entry", _IMAGE.title, *headings, "answering"),
        tuple(rows),
        about + " Answering: the host's time for all service calls of a boot.",
        frozenset(range(1, len(headings) + 3)),
    )


@dataclass(frozen=True)
class _Goal:
    """What a time is measured to: a milestone, None for the guest's end, in boots of these kinds."""

    title: str
    milestone: Milestone | None
    kinds: tuple[TaskKind, ...]


_IMAGE = _Goal("image entered", Milestone.IMAGE, _TIMED)
_HANDOFF = _Goal("hand-off", Milestone.HANDOFF, (TaskKind.HANDOFF,))
_USER_SPACE = _Goal("user space", Milestone.USER_SPACE, (TaskKind.USERSPACE,))
_END = _Goal("its end", None, (TaskKind.HANDOFF,))


def _repeats(evaluation: Evaluation, image: ImageFacts, way: Way, goal: _Goal) -> list[float] | str:
    """Return the milliseconds to a goal in each boot that reached it, or why there are none."""
    every = of(evaluation, image, way, goal.kinds)
    results = [result for result in every if result.problem is Problem.NONE]
    results = [result for result in results if not _counts(result)] or results
    found = [seconds * _MILLISECONDS for one in results if (seconds := _seconds(one, goal)) is not None]
    if not found and every and all(ending(one) is Ending.REACHED for one in every):
        return "who boots it so does not tell it"
    return found or why_not(every)


def _seconds(result: TaskResult, goal: _Goal) -> float | None:
    if goal.milestone is not None:
        return milestones(result).get(goal.milestone)
    seconds = result.boot.get("seconds")
    good = ending(result) is Ending.REACHED and isinstance(seconds, int | float)
    return float(seconds) if good and isinstance(seconds, int | float) else None


def _counts(result: TaskResult) -> bool:
    return result.task.machine == "embedded" and isinstance(result.boot.get("instructions"), int)


def _time(told: list[float] | str) -> Cell:
    """Return the cell of times, or of why there are none."""
    if isinstance(told, str):
        return not_measured(told)
    middle = median(told)
    spread = f" ({_ms(min(told))} - {_ms(max(told))}) of {len(told)}" if len(told) > 1 else " once"
    value: Json = {"median": middle, "lowest": min(told), "highest": max(told), "boots": len(told)}
    return Cell(_ms(middle) + spread, value)


def _time_ratio(told: list[float] | str, every: Sequence[list[float] | str]) -> Cell:
    """Return the ratio of two medians, and whether chance alone could account for it."""
    best = min((one for one in every if isinstance(one, list)), key=median, default=None)
    if isinstance(told, str) or best is None:
        return Cell("-")
    made = _quotient(median(told), median(best))
    if told is not best and min(told) <= max(best):
        return replace(made, note="its range and the best's overlap")
    return made


def _ms(milliseconds: float) -> str:
    return f"{milliseconds:,.0f}" if milliseconds >= 100 else f"{milliseconds:.1f}"


def _host_time(evaluation: Evaluation, image: ImageFacts, way: Way) -> Cell:
    """Return the host's time for the service calls of a boot, the median of all timed ones."""
    times: list[float] = []
    calls: list[int] = []
    for result in of(evaluation, image, way, _TIMED):
        seconds, made = result.boot.get("host_seconds"), result.boot.get("calls_made")
        if result.boot.get("profile") and isinstance(seconds, int | float) and isinstance(made, int):
            times.append(seconds * _MILLISECONDS)
            calls.append(made)
    if not times:
        return not_measured("nobody answers there, or nothing was timed")
    return Cell(_ms(median(times)), median(times), note=f"{max(calls)} calls at most")


def _timeline(evaluation: Evaluation, image: ImageFacts, here: Sequence[Way]) -> Iterator[Picture]:
    """Yield the picture of the medians of all that a boot passes on its way; none where nothing was timed."""
    for kind in (TaskKind.USERSPACE, TaskKind.HANDOFF):
        lines = {way.entry: _passed(of(evaluation, image, way, [kind])) for way in here}
        lines = {entry: passed for entry, passed in lines.items() if passed}
        if len(lines) > 1:
            yield _timeline_picture(short_names(evaluation)[image.file.sha256], here[0].machine, lines)
            return


def _passed(results: Sequence[TaskResult]) -> dict[Milestone, float]:
    """Return the median of each milestone that every good boot passed, in milliseconds, by time."""
    good = [result for result in results if not _counts(result)] or list(results)
    told = [passed for result in good if (passed := milestones(result))]
    medians = {
        one: median(passed[one] for passed in told) * _MILLISECONDS
        for one in Milestone
        if told and all(one in passed for passed in told)
    }
    return dict(sorted(medians.items(), key=lambda item: item[1]))


def _timeline_picture(name: str, machine: str, lines: Mapping[str, Mapping[Milestone, float]]) -> Picture:
    records: list[Mapping[str, Json]] = []
    rows = []
    for entry, passed in lines.items():
        start = 0.0
        for milestone, end in passed.items():
            records.append({"way": entry, "phase": milestone.value, "start": start, "end": end})
            rows.append((cell(entry), cell(milestone.value), Cell(_ms(start), start), Cell(_ms(end), end)))
            start = end
    headings = ("entry", "up to", "from, ms", "to, ms")
    table = Table(f"{name} on {machine}: timeline", headings, tuple(rows), "", frozenset({2, 3}), folded=True)
    return Picture(
        f"{name} on {machine}: timeline",
        PictureKind.TIMELINE,
        tuple(records),
        table,
        "Medians from the machine's start. Loaders other than pvefi tell nothing before user space.",
    )
