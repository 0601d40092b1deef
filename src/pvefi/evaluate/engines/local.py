# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs tasks on this host's CPUs, several at once, each in a process of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

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
        running = _Running(files)
        with ThreadPoolExecutor(self.jobs, thread_name_prefix="task") as pool:
            try:
                for task in tasks:
                    pool.submit(running.run, task)
                left = len(tasks)
                while left:
                    happening = running.happenings.get()
                    if isinstance(happening, BaseException):
                        raise happening
                    left -= isinstance(happening, Finished)
                    yield happening
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
                running.end()


class _Running:
    """The tasks that run, each in a thread of its own that waits for its process."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        self._files = files
        self._lock = threading.Lock()
        self._processes: set[Isolated] = set()
        self._over = False
        self.happenings: SimpleQueue[Happening | BaseException] = SimpleQueue()

    def run(self, task: Task) -> None:
        """Run `task` and tell of its start and its end; an error of this host's is told, too."""
        try:
            with self._lock:
                if self._over:
                    return
                process = Isolated(task, self._files)
                self._processes.add(process)
            self.happenings.put(Started(task))
            with process:
                result = process.result()
            with self._lock:
                self._processes.remove(process)
            self.happenings.put(Finished(result))
        except BaseException as error:
            self.happenings.put(error)

    def end(self) -> None:
        """End all that runs; nothing starts any more."""
        with self._lock:
            self._over = True
            for process in self._processes:
                process.end()
