# SPDX-License-Identifier: GPL-2.0-or-later
"""Keeps what came of each task as soon as it came, so that an evaluation that was interrupted can go on.

A directory `results` has a file for each task, by the task's name: whole, or not there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from pvefi import __version__
from pvefi.errors import UsageError
from pvefi.evaluate.outcome import Ending, ending
from pvefi.evaluate.task import Problem, Task, TaskResult, result_from_json
from pvefi.files import open_file, own_folder, put_file
from pvefi.report.json_node import Node, parse_json

__all__ = ["Journal"]

_FOLDER = "results"
_SIZE_LIMIT = 64 << 20


class Journal:
    """The results in a directory; what cannot be written is told to `notice`, once, and ends nothing."""

    def __init__(self, directory: Path, *, resume: bool, notice: Callable[[str], None]) -> None:
        """Open the journal in `directory`, which is made; UsageError when it cannot be, or has results.

        With `resume` results may be there.
        """
        self._folder = directory / _FOLDER
        self._notice = notice
        self.broken = False
        """Whether something could not be written."""
        try:
            own_folder(self._folder)
            there = next(self._folder.glob("*.json"), None)
        except OSError as error:
            raise UsageError(f"{self._folder}: cannot keep results here: {error.strerror}") from error
        if there is not None and not resume:
            raise UsageError(
                f"{directory}: expected a directory without results, found {_FOLDER}/{there.name}",
                "--resume goes on with those, another -o begins anew",
            )

    def results(self, tasks: Iterable[Task]) -> dict[str, TaskResult]:
        """Return the results of these tasks that are there, by the task's name.

        One whose boot could not be made is left out, so that it is tried again; so is one that ran into a
        shorter time-out than the one that is asked for now, one of another version of pvefi, and a file that
        is damaged or none.
        """
        found, others = {}, 0
        for task in tasks:
            path = self._path(task)
            if not os.path.lexists(path):
                continue
            try:
                result = result_from_json(_loaded(path))
            except UsageError as error:
                self._notice(f"{error.message}: this boot runs again")
                continue
            if result.task.id != task.id or result.problem is not Problem.NONE:
                continue
            if ending(result) is Ending.TIMED_OUT and result.task.timeout < task.timeout:
                continue
            if result.pvefi != __version__:
                others += 1
                continue
            found[task.id] = result
        if others:
            self._notice(
                f"{self._folder}: {others} results are of another version than pvefi {__version__}: "
                "these boots run again"
            )
        return found

    def keep(self, result: TaskResult) -> None:
        """Write a result; where that fails, it is told."""
        try:
            put_file(self._path(result.task), json.dumps(result.to_json()).encode("ascii"))
        except OSError as error:
            if not self.broken:
                self._notice(
                    f"{self._folder}: cannot keep results: {error.strerror}: --resume will run boots again"
                )
            self.broken = True

    def _path(self, task: Task) -> Path:
        return self._folder / f"{task.id}.json"


def _loaded(path: Path) -> Node:
    """Return the document in a file that somebody else may have put there: a regular file, not too large."""
    with open_file(path, "a result", follow=False) as file:
        data = file.read(_SIZE_LIMIT + 1)
    if len(data) > _SIZE_LIMIT:
        raise UsageError(f"{path}: expected a result, found more than {_SIZE_LIMIT >> 20} MiB")
    return parse_json(data, str(path), "")
