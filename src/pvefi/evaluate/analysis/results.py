# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads the results of an evaluation, whatever of one may be missing or damaged: all sections begin here.

A guest wrote part of every result. Text is made printable and bounded, a number that is none is not there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum

from pvefi.errors import UsageError
from pvefi.evaluate.document import Cell, Mark
from pvefi.evaluate.run import Evaluation, ImageFacts
from pvefi.evaluate.task import Problem, TaskKind, TaskResult
from pvefi.report.boot_document import BootDocument, boot_document
from pvefi.report.json_node import Node
from pvefi.trace.spelling import escaped
from pvefi.verdict import Milestone, Outcome

__all__ = [
    "NOT_MEASURED",
    "TEXT_LIMIT",
    "Stage",
    "Way",
    "document_of",
    "entries_of",
    "milestones",
    "not_measured",
    "of",
    "outcome",
    "short_names",
    "shown",
    "stage",
    "status_name",
    "times_text",
    "verdict",
    "ways",
    "why_not",
]

NOT_MEASURED = "not measured"
TEXT_LIMIT = 300
"""Characters of one text that a report shows; a kernel's log line is shorter."""
_TIMES_LIMIT = 1e7  # seconds; no boot takes months


@dataclass(frozen=True, order=True)
class Way:
    """How an image was booted: an entry, or somebody else's loader, on a machine."""

    entry: str
    machine: str

    def __str__(self) -> str:
        return f"{self.entry} on {self.machine}"


class Stage(IntEnum):
    """How far a boot came; more is further."""

    NOTHING = 0
    """There is no boot to tell of."""
    ENDED = 1
    """It ran, and ended before the kernel proper had control; a program ends so when all is well."""
    HANDOFF = 2
    USER_SPACE = 3


def shown(text: str, limit: int = TEXT_LIMIT) -> str:
    """Return a text of a guest or a file as a report may have it: it prints, on one line, and is not long."""
    cut = escaped(text[: limit + 1])
    return cut if len(cut) <= limit else f"{cut[: limit - 1]}…"


def short_names(evaluation: Evaluation) -> Mapping[str, str]:
    """Return a name for each image by its SHA-256: its file's, with the hash where two have the same."""
    names = [image.file.name for image in evaluation.images]
    return {
        image.file.sha256: shown(image.file.name, 80)
        + (f" {image.file.sha256[:8]}" if names.count(image.file.name) > 1 else "")
        for image in evaluation.images
    }


def of(
    evaluation: Evaluation,
    image: ImageFacts,
    way: Way | None = None,
    kinds: Iterable[TaskKind] = tuple(TaskKind),
) -> list[TaskResult]:
    """Return the results of an image, of one way and of some kinds, in their order."""
    wanted = frozenset(kinds)
    return [
        result
        for result in evaluation.results
        if result.task.image.sha256 == image.file.sha256
        and result.task.kind in wanted
        and (way is None or (result.task.entry, result.task.machine) == (way.entry, way.machine))
    ]


def ways(evaluation: Evaluation, image: ImageFacts | None = None) -> list[Way]:
    """Return the ways in which an image, or any, was booted, by machine, then in the order of results."""
    results = evaluation.results if image is None else of(evaluation, image)
    found = dict.fromkeys(Way(result.task.entry, result.task.machine) for result in results)
    machines = {name: at for at, name in enumerate(evaluation.machines)}
    entries = {name: at for at, name in enumerate(entries_of(evaluation))}
    return sorted(found, key=lambda way: (machines.get(way.machine, len(machines)), entries[way.entry]))


def entries_of(evaluation: Evaluation) -> list[str]:
    """Return every entry and loader that an image was booted by, in the order of the results."""
    return list(dict.fromkeys(result.task.entry for result in evaluation.results))


def outcome(result: TaskResult) -> Outcome | None:
    """Return how a boot ended; None where there is none, or it says nothing that is known."""
    found = _member(result, "verdict", "outcome")
    try:
        return Outcome(found)
    except ValueError:
        return None


def verdict(result: TaskResult) -> str:
    """Return how a boot ended, in words; why there is none where a problem came between."""
    if result.problem is not Problem.NONE:
        return shown(f"{result.problem.value}: {result.why}")
    ended = outcome(result)
    message = _member(result, "verdict", "message")
    told = message if isinstance(message, str) else ""
    return shown(f"{ended.value if ended else 'no verdict'}: {told}" if told else "no verdict")


def status_name(result: TaskResult) -> str:
    """Return the name of the EFI status with which a program ended; empty where it told none."""
    found = _member(result, "verdict", "status", "name")
    return shown(found, 40) if isinstance(found, str) else ""


def stage(result: TaskResult) -> Stage:
    """Return how far a boot came."""
    if result.problem is not Problem.NONE or not result.boot:
        return Stage.NOTHING
    passed = milestones(result)
    ended = outcome(result)
    if Milestone.USER_SPACE in passed or ended is Outcome.USER_SPACE or result.counter is not None:
        return Stage.USER_SPACE
    if Milestone.HANDOFF in passed or ended is Outcome.HANDOFF:
        return Stage.HANDOFF
    return Stage.ENDED


def milestones(result: TaskResult) -> dict[Milestone, float]:
    """Return what a boot passed on its way and when, in seconds from the machine's start."""
    found = result.boot.get("milestones")
    passed = {}
    for milestone in Milestone:
        seconds = found.get(milestone.value) if isinstance(found, dict) else None
        if isinstance(seconds, int | float) and not isinstance(seconds, bool) and 0 <= seconds < _TIMES_LIMIT:
            passed[milestone] = float(seconds)
    return passed


def document_of(results: Iterable[TaskResult]) -> BootDocument | None:
    """Return the first boot among `results` that has a hand-off; None where none has."""
    for result in results:
        if result.problem is Problem.NONE and isinstance(result.boot.get("handoff"), dict):
            try:
                return boot_document(Node(dict(result.boot), shown(result.task.label)))
            except UsageError:
                continue  # a hand-off that makes no sense is none
    return None


def why_not(results: Iterable[TaskResult]) -> str:
    """Return why `results` do not tell what is asked of them: the first that failed, or that none ran."""
    first = ""
    for result in results:
        first = first or verdict(result)
        if result.problem is not Problem.NONE:
            return verdict(result)
    return first or "no such boot was run"


def times_text(count: int) -> str:
    """Return how often: once, 5 times."""
    return "once" if count == 1 else f"{count:,} times"


def not_measured(why: str) -> Cell:
    """Return the cell of what was not measured."""
    return Cell(NOT_MEASURED, None, Mark.MISSING, shown(why))


def _member(result: TaskResult, *names: str) -> object:
    return _inside(result.boot, names)


def _inside(value: object, names: Iterable[str]) -> object:
    for name in names:
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value
