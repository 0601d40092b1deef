#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes the report of 20 images out of the results of one: `evaluate_report.py IMAGE DIRECTORY OUT`.

DIRECTORY is what `pvefi evaluate IMAGE` has written. Its results stand for those of other images, under other
names and hashes; everything else in them is as it was measured.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pvefi.evaluate.analysis import sections
from pvefi.evaluate.engines.local import LocalEngine
from pvefi.evaluate.evaluation import Watcher, evaluate, look
from pvefi.evaluate.journal import Journal
from pvefi.evaluate.plan import Plan
from pvefi.evaluate.report import write_reports
from pvefi.evaluate.run import Evaluation, ImageFacts
from pvefi.evaluate.task import FileRef, TaskResult, result_from_json
from pvefi.report.json_node import load_json

__all__ = ["main", "multiplied"]

IMAGES = 20


def multiplied(evaluation: Evaluation, count: int) -> Evaluation:
    """Return the evaluation with `count` images for each that it has, all with its results."""
    images: list[ImageFacts] = []
    results: list[TaskResult] = []
    for number in range(count):
        for image in evaluation.images:
            file = _another(image.file, number)
            images.append(replace(image, file=file))
            results += [
                replace(result, task=replace(result.task, image=file))
                for result in evaluation.results
                if result.task.image == image.file
            ]
    return replace(evaluation, images=tuple(images), results=tuple(results))


def _another(file: FileRef, number: int) -> FileRef:
    sha256 = hashlib.sha256(f"{file.sha256} {number}".encode()).hexdigest()
    return FileRef(f"{file.name}-{number + 1:02}", sha256, file.size)


def main(words: Sequence[str]) -> int:
    """Write the reports."""
    image, directory, out = map(Path, words)
    tasks = [result_from_json(load_json(path, "a result")).task for path in (directory / "results").iterdir()]
    plan = Plan(tuple(sorted(tasks, key=lambda task: task.label)), ())
    evaluation = evaluate(
        look([image], None),
        plan,
        LocalEngine(1),
        Journal(directory, resume=True, notice=print),
        Watcher(planned=lambda _tasks, _done: None, happened=lambda _what: None, notice=print),
        command="bench/evaluate_report.py",
        repeat=1,
    )
    many = multiplied(evaluation, IMAGES)
    out.mkdir(exist_ok=True)
    write_reports(many, sections(many), out)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
