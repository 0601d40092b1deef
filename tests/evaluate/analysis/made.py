# SPDX-License-Identifier: GPL-2.0-or-later
"""Evaluations of a few made-up boots, and what tests ask of sections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pvefi.evaluate.document import Cell, Picture, Section, Table
from pvefi.evaluate.run import Evaluation, Host, ImageFacts
from pvefi.evaluate.task import Problem, Task, TaskKind, TaskResult
from pvefi.probe.witness import KERNEL_LOG
from pvefi.report.boot import to_json
from pvefi.trace.values import Json
from pvefi.verdict import BootResult, Milestone, Outcome
from tests.evaluate.made import facts, task_result
from tests.report.made import handoff, result

KERNEL = facts()
PROGRAM = facts("hello.efi", kind="EFI application", is_kernel=False, entries=("efi",), ways=("efi",))
BOOT_PARAMS = "/sys/kernel/boot_params/data"


def evaluation(*results: TaskResult, **fields: Any) -> Evaluation:
    images = {one.file.sha256: one for one in (KERNEL, PROGRAM)}
    used = dict.fromkeys(one.task.image.sha256 for one in results)
    given: dict[str, Any] = {
        "command": "pvefi evaluate vmlinuz -o out",
        "started": "2026-01-01 00:00:00 UTC",
        "seconds": 12.0,
        "repeat": 3,
        "jobs": 1,
        "host": Host("a CPU", 2, "Linux", "3.11", "0.1.0", (("embedded", "unicorn 2"),)),
        "images": tuple(images[sha256] for sha256 in used if sha256 in images),
        "machines": tuple(dict.fromkeys(one.task.machine for one in results)),
        "results": results,
        "gaps": (),
    }
    return Evaluation(**(given | fields))


def task(
    entry: str = "efi",
    machine: str = "embedded",
    kind: TaskKind = TaskKind.HANDOFF,
    image: ImageFacts = KERNEL,
    **fields: Any,
) -> Task:
    return Task(image.file, entry, machine, kind, **fields)


def boot(of: Task, made: BootResult | None = None, **fields: Any) -> TaskResult:
    """Return the result of a task whose boot was `made`, or came to a made-up hand-off."""
    document = to_json(made if made is not None else result(entry=of.entry))
    return task_result(of, boot=document, **fields)


def handed(entry: str = "efi", machine: str = "embedded", **fields: Any) -> TaskResult:
    """Return a boot to a hand-off with these fields."""
    return boot(task(entry, machine), result(entry=entry, handoff=handoff(**fields)))


def told(
    entry: str = "efi",
    machine: str = "qemu",
    kind: TaskKind = TaskKind.FACTS,
    files: Mapping[str, bytes] | None = None,
    log: str = "",
    **fields: Any,
) -> TaskResult:
    """Return a boot whose kernel told `files`, and `log` as dmesg -r writes it."""
    made = result(
        Outcome.POWERED_OFF,
        "the guest switched itself off",
        entry=entry,
        milestones={Milestone.USER_SPACE: 2.0},
    )
    own = {**(files or {}), **({KERNEL_LOG: log.encode()} if log else {})}
    return boot(task(entry, machine, kind), made, files=own, **fields)


def failed(of: Task, problem: Problem = Problem.MACHINE, why: str = "no QEMU here") -> TaskResult:
    return task_result(of, boot={}, problem=problem, why=why)


def tables(section: Section) -> list[Table]:
    return [part.table if isinstance(part, Picture) else part for part in section.parts]


def pictures(section: Section) -> list[Picture]:
    return [part for part in section.parts if isinstance(part, Picture)]


def table(section: Section, title: str) -> Table:
    (found,) = [one for one in tables(section) if title in one.title]
    return found


def row(of: Table, name: str, at: int = 0) -> dict[str, Cell]:
    """Return the row whose cell number `at` is `name`, by the headings; of equal headings the first."""
    (found,) = [one for one in of.rows if one[at].text == name]
    cells: dict[str, Cell] = {}
    for heading, one in zip(of.headings, found, strict=True):
        cells.setdefault(heading, one)
    return cells


def column(of: Table, heading: str) -> list[str]:
    return [one[of.headings.index(heading)].text for one in of.rows]


def call(
    index: int, service: str, guid: str = "", status: str = "EFI_SUCCESS", why: str = ""
) -> dict[str, Json]:
    """Return a line of a trace."""
    return {
        "index": index,
        "service": service,
        "arguments": {"Protocol": {"guid": guid}} if guid else {},
        "status": status,
        "host_us": 10.0,
        "why": why,
    }
