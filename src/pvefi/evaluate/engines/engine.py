# SPDX-License-Identifier: GPL-2.0-or-later
"""The one interface behind which every engine stands."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pvefi.evaluate.task import Task, TaskResult

__all__ = ["Engine", "Finished", "Happening", "Lost", "Notice", "Started"]


@dataclass(frozen=True)
class Started:
    """A task runs from now on; `worker` says where, when that is not here."""

    task: Task
    worker: str = ""


@dataclass(frozen=True)
class Finished:
    """A task has come to its end."""

    result: TaskResult


@dataclass(frozen=True)
class Lost:
    """Who ran a task is gone; it runs again, on somebody else."""

    task: Task
    why: str


@dataclass(frozen=True)
class Notice:
    """Something about the engine itself that a person should know, such as what it waits for."""

    text: str


Happening = Started | Finished | Lost | Notice


class Engine(Protocol):
    """Runs tasks, several at once."""

    @property
    def jobs(self) -> int:
        """How many run at once, when it was last known."""
        ...

    def run(self, tasks: Sequence[Task], files: Mapping[str, Path]) -> Generator[Happening]:
        """Run `tasks` and yield what happens, each as soon as it does; `files` has a path for each SHA-256.

        Tasks start in their order. One that fails, crashes or hangs is Finished, and its result says so;
        MachineError when the engine itself is gone. Closing the iterator ends all that runs.
        """
        ...
