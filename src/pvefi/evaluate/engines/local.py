# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs tasks on this host's CPUs, several at once, each in a process of its own."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue

from pvefi.evaluate.engines.engine import Finished, Happening, Started
from pvefi.evaluate.isolated import Isolated
from pvefi.evaluate.task import Task

__all__ = ["LocalEngine"]


_AHEAD = 4
"""Workers that are started ahead; an evaluation may turn out to have nothing to do for them."""


class LocalEngine:
    """Runs `jobs` tasks at once; to be closed."""

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self._ready: list[Isolated] = []

    def start(self) -> None:
        """Start the first workers, whose imports take half a second, before it is known what they will do."""
        for _ in range(min(self.jobs, _AHEAD)):
            worker = Isolated()
            self._ready.append(worker)
            worker.start()

    def close(self) -> None:
        """End the workers that no run has taken."""
        while self._ready:
            self._ready.pop().close()

    def run(self, tasks: Sequence[Task], files: Mapping[str, Path]) -> Generator[Happening]:
        """Run `tasks` and yield what happens; see `Engine.run`."""
        with ExitStack() as stack:
            board = _Board(tasks)
            for _ in range(min(self.jobs, len(tasks))):
                worker = self._ready.pop() if self._ready else Isolated()
                thread = threading.Thread(target=_work, args=(worker, board, files))
                stack.callback(thread.join)
                stack.callback(worker.end)
                thread.start()
            stack.callback(board.wipe)
            finished = 0
            while finished < len(tasks):
                happening = board.happenings.get()
                if isinstance(happening, BaseException):
                    raise happening
                finished += isinstance(happening, Finished)
                yield happening


class _Board:
    """What is left to do, and what has happened."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._lock = threading.Lock()
        self._left = deque(tasks)
        self.happenings: SimpleQueue[Happening | BaseException] = SimpleQueue()

    def take(self) -> Task | None:
        """Take the next task, which is told to start; None when there is no more."""
        with self._lock:
            if not self._left:
                return None
            task = self._left.popleft()
            self.happenings.put(Started(task))
            return task

    def wipe(self) -> None:
        """Take away what has not started."""
        with self._lock:
            self._left.clear()


def _work(worker: Isolated, board: _Board, files: Mapping[str, Path]) -> None:
    """Run one task after the other, in a thread of its own; an error of this host's is told, too."""
    try:
        with worker:
            while (task := board.take()) is not None:
                board.happenings.put(Finished(worker.run(task, files)))
    except BaseException as error:  # it is raised again where somebody waits for it
        board.happenings.put(error)
