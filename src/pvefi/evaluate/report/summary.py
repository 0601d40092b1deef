# SPDX-License-Identifier: GPL-2.0-or-later
"""What stands at the head of a report: what ran, where, how long, of which images, and what is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType

from pvefi.evaluate.document import Cell, Mark, Table, cell
from pvefi.evaluate.outcome import Ending, ending, words
from pvefi.evaluate.run import Evaluation, Gap
from pvefi.evaluate.task import FileRef, Problem, Task, TaskKind
from pvefi.report.text import size_text

__all__ = ["TITLE", "facts", "images", "missing"]

TITLE = "Boot entry evaluation"

_CANNOT_BOOT = "cannot be booted"
_PROBLEMS: Mapping[Problem, str] = MappingProxyType(
    {
        Problem.NONE: "not available",
        Problem.INPUT: _CANNOT_BOOT,
        Problem.MACHINE: "no machine",
        Problem.CRASHED: "crashed",
        Problem.STUCK: "stuck",
    }
)
_ENDINGS: Mapping[Ending, str] = MappingProxyType(
    {
        Ending.FAILED: "failed",
        Ending.INPUT: _CANNOT_BOOT,
        Ending.MACHINE: "machine failed",
        Ending.TIMED_OUT: "timed out",
    }
)
_MANY = 12  # of a table at the head, more of which are folded


def facts(evaluation: Evaluation) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return name and texts of what is told of the run; the command is not among them."""
    host = evaluation.host
    return (
        ("when", (evaluation.started,)),
        ("where", _where(evaluation)),
        *((f"machine {name}", tuple(about.split("; "))) for name, about in host.machines),
        ("boots", (evaluation.effort, _ended(evaluation))),
        ("by", (f"pvefi {host.pvefi}, Python {host.python}",)),
    )


def _where(evaluation: Evaluation) -> tuple[str, ...]:
    """Return a line for each host that boots ran on; where none has, the one that the report was made on."""
    host, hosts = evaluation.host, evaluation.hosts
    here = f"{host.cpu}, {_count(host.cpus, 'CPU')}, {host.system}"
    if not hosts:
        return (f"{here} (where this report was made)",)
    if [(one.cpu, one.cpus, one.name) for one in hosts] == [(host.cpu, host.cpus, host.name)]:
        return (here,)
    told = [f"{one.name}: {one.cpu}, {_count(one.cpus, 'CPU')}" for one in hosts]
    if len(hosts) > 1:
        told.append("times are of different hosts: they say nothing of one another")
    return tuple(told)


def images(evaluation: Evaluation) -> Table:
    """Return the table of images, with what tells each from every other one."""
    return Table(
        title=f"Images ({len(evaluation.images)})",
        headings=("image", "release", "kind", "size", "SHA-256"),
        rows=tuple(
            (
                cell(image.file.name),
                cell(image.release or None),
                cell(image.kind),
                Cell(size_text(image.file.size), image.file.size),
                cell(image.file.sha256),
            )
            for image in evaluation.images
        ),
        numeric=frozenset({3}),
        folded=len(evaluation.images) > _MANY,
    )


def missing(evaluation: Evaluation) -> Table:
    """Return the table of what was asked for and is not there, and of boots that ended otherwise.

    Boots of one image on one machine that failed for the same reason are one row.
    """
    rows = [
        (cell(gap.what), cell(_PROBLEMS[gap.problem], _gap_mark(gap)), cell(gap.why))
        for gap in evaluation.gaps
    ]
    rows += _failures(evaluation)
    return Table(
        "What is missing, and why", ("what", "problem", "why"), tuple(rows), folded=len(rows) > _MANY
    )


def _failures(evaluation: Evaluation) -> Iterator[tuple[Cell, Cell, Cell]]:
    alike: dict[tuple[str, str, Ending, str], list[str]] = {}
    kernels = {image.file for image in evaluation.images if image.is_kernel}
    for result in evaluation.results:
        came = ending(result)
        if came is not Ending.REACHED:
            key = (result.task.image.name, result.task.machine, came, words(result))
            alike.setdefault(key, []).append(f"{result.task.entry} ({_aim(result.task, kernels)})")
    for (image, machine, came, why), boots in alike.items():
        names = ", ".join(
            name if times == 1 else f"{name} {times} times" for name, times in Counter(boots).items()
        )
        yield cell(f"{image} on {machine}: {names}"), cell(_ENDINGS[came], Mark.BAD), cell(why)


def _aim(task: Task, kernels: Collection[FileRef]) -> str:
    """Return what a boot was for; a program that is no kernel hands nothing off, and has an end."""
    return "its end" if task.kind is TaskKind.HANDOFF and task.image not in kernels else task.kind.value


def _gap_mark(gap: Gap) -> Mark:
    return Mark.NONE if gap.problem is Problem.NONE else Mark.BAD


def _ended(evaluation: Evaluation) -> str:
    done = len(evaluation.results)
    reached = sum(ending(result) is Ending.REACHED for result in evaluation.results)
    ended = "all" if done == reached else f"{reached:,} of {done:,}"
    return f"{ended} ended as they were to{_repeated(evaluation)}"


def _repeated(evaluation: Evaluation) -> str:
    """Say how often each timed boot ran, by the results that are there; empty where none is timed."""
    kernels = {image.file for image in evaluation.images if image.is_kernel and not image.unified}
    timed = Counter(
        (one.task.image, one.task.entry, one.task.machine, one.task.kind)
        for one in evaluation.results
        if one.task.kind is TaskKind.USERSPACE
        or (one.task.machine == "embedded" and one.task.image in kernels)
    )
    if not timed:
        return ""
    least, most = min(timed.values()), max(timed.values())
    times = _count(most, "time") if least == most else f"{least:,} to {_count(most, 'time')}"
    return f"; timed ones ran {times} each"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
