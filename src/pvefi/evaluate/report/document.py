# SPDX-License-Identifier: GPL-2.0-or-later
"""An evaluation's report for programs: `pvefi/evaluation`. docs/json-documents.md has its fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from pvefi.evaluate.document import Cell, Picture, Section, Table
from pvefi.evaluate.report.plain import names_apart, slug
from pvefi.evaluate.run import Evaluation
from pvefi.evaluate.task import TaskResult
from pvefi.trace.values import Json

__all__ = ["SCHEMA", "VERSION", "document", "picture_names"]

SCHEMA = "pvefi/evaluation"
VERSION = 1

_LONGEST = 20_000
"""Letters of one text: whole console logs are in results/."""
_OF_BOOT = ("verdict", "seconds", "milestones", "instructions", "instructions_to_image", "calls_made")


def document(evaluation: Evaluation, sections: Sequence[Section]) -> dict[str, Json]:
    """Return the document that report.json has; each boot's own one stands in results/."""
    host = evaluation.host
    names = iter(picture_names(sections))
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "command": _bounded(evaluation.command),
        "started": evaluation.started,
        "seconds": evaluation.seconds,
        "boot_seconds": evaluation.boot_seconds,
        "reused": evaluation.reused,
        "repeat": evaluation.repeat,
        "jobs": evaluation.jobs,
        "host": {
            "name": host.name,
            "cpu": host.cpu,
            "cpus": host.cpus,
            "system": host.system,
            "python": host.python,
            "pvefi": host.pvefi,
            "machines": dict(host.machines),
        },
        "hosts": [asdict(one) for one in evaluation.hosts],
        "machines": list(evaluation.machines),
        "images": [
            {
                **asdict(image.file),
                "kind": _bounded(image.kind),
                "release": _bounded(image.release),
                "entries": list(image.entries),
                "ways": list(image.ways),
                "is_kernel": image.is_kernel,
                "bits": image.bits,
            }
            for image in evaluation.images
        ],
        "gaps": [
            {"what": _bounded(gap.what), "problem": gap.problem.value, "why": _bounded(gap.why)}
            for gap in evaluation.gaps
        ],
        "sections": [
            {
                "name": section.name,
                "title": section.title,
                "short": section.short or section.title,
                "text": [_bounded(text) for text in section.text],
                "parts": [
                    _picture(part, next(names)) if isinstance(part, Picture) else _table(part)
                    for part in section.parts
                ],
            }
            for section in sections
        ],
        "results": [_result(result) for result in evaluation.results],
    }


def picture_names(sections: Sequence[Section]) -> list[str]:
    """Return for every picture, in order, the name of its file in pictures/, without `.svg`.

    It follows from what kind of picture it is, and which one of those: "timeline", "timeline-2".
    """
    return list(
        names_apart(
            [
                slug(part.kind.value)
                for section in sections
                for part in section.parts
                if isinstance(part, Picture)
            ]
        )
    )


def _table(table: Table) -> dict[str, Json]:
    return {
        "table": _bounded(table.title),
        "about": _bounded(table.about),
        "headings": [_bounded(heading) for heading in table.headings],
        "rows": [[_cell(one) for one in row] for row in table.rows],
    }


def _cell(one: Cell) -> dict[str, Json]:
    """Return a cell: `mark` and `note` only where there is one."""
    made: dict[str, Json] = {"text": _bounded(one.text), "value": _shortened(one.value)}
    if one.mark:
        made["mark"] = one.mark.value
    if one.note:
        made["note"] = _bounded(one.note)
    return made


def _picture(picture: Picture, name: str) -> dict[str, Json]:
    return {
        "picture": _bounded(picture.title),
        "about": _bounded(picture.about),
        "kind": picture.kind.value,
        "file": f"pictures/{name}.svg",
        "records": [_shortened(dict(record)) for record in picture.records],
        "as_table": _table(picture.table),
    }


def _result(result: TaskResult) -> dict[str, Json]:
    task = result.task
    told: dict[str, Json] = {name: _shortened(result.boot.get(name)) for name in _OF_BOOT}
    return {
        "id": task.id,
        "file": f"results/{task.id}.json",
        "image": task.image.sha256,
        "entry": task.entry,
        "machine": task.machine,
        "kind": task.kind.value,
        "repetition": task.repetition,
        "problem": result.problem.value,
        "why": _bounded(result.why),
        **told,
        "counter": result.counter,
        "peak_memory": result.peak_memory,
        "worker": result.worker,
        "host": None if result.host is None else result.host.name,
        "pvefi": result.pvefi,
    }


def _shortened(value: Json) -> Json:
    """Return a value with every text in it bounded."""
    match value:
        case str():
            return _bounded(value)
        case list():
            return [_shortened(one) for one in value]
        case Mapping():
            return {_bounded(name): _shortened(one) for name, one in value.items()}
    return value


def _bounded(text: str) -> str:
    if len(text) <= _LONGEST:
        return text
    return f"{text[:_LONGEST]} … ({len(text) - _LONGEST:,} more characters)"
