# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs tasks on this host's CPUs, several at once, each in a process of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from queue import Empty, SimpleQueue

from pvefi.evaluate.engines.engine import Finished, Happening, Started
from pvefi.evaluate.isolated import Isolated
from pvefi.evaluate.task import Task

__all__ = ["LocalEngine"]


class LocalEngine:
    """Runs `jobs` tasks at once."""

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs

    def run(self, tasks: Sequence[Task], files: Mapping[str, Path]) -> Iterator[Happening]:
        """Run `tasks` and yield what happens; see `Engine.run`."""
        with ExitStack() as stack:
            left: SimpleQueue[Task] = SimpleQueue()
            for task in tasks:
                left.put(task)
            happenings: SimpleQueue[Happening | BaseException] = SimpleQueue()
            for _ in range(min(self.jobs, len(tasks))):
                worker = Isolated()
                thread = threading.Thread(target=_work, args=(worker, left, files, happenings.put))
                stack.callback(thread.join)
                stack.callback(worker.end)
                thread.start()
            stack.callback(_emptied, left)
            finished = 0
            while finished < len(tasks):
                happening = happenings.get()
                if isinstance(happening, BaseException):
                    raise happening
                finished += isinstance(happening, Finished)
                yield happening


def _work(
    worker: Isolated,
    left: SimpleQueue[Task],
    files: Mapping[str, Path],
    tell: Callable[[Happening | BaseException], None],
) -> None:
    """Run one task after the other, in a thread of its own; an error of this host's is told, too."""
    try:
        with worker:
            while True:
                task = left.get_nowait()
                tell(Started(task))
                tell(Finished(worker.run(task, files)))
    except Empty:
        pass
    except BaseException as error:  # it is raised again where somebody waits for it
        tell(error)


def _emptied(left: SimpleQueue[Task]) -> None:
    """Take out what has not started."""
    with suppress(Empty):
        while True:
            left.get_nowait()
