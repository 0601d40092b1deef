# SPDX-License-Identifier: GPL-2.0-or-later
"""Inspects many files, several at once where that pays: decompressing kernels takes a CPU for itself.

Results come in the order of the files, each as soon as it and all before it are there.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.context import BaseContext
from pathlib import Path

from pvefi.errors import ImageError, MachineError, PvefiError, UsageError
from pvefi.image.inspection import inspect
from pvefi.image.model import Image

__all__ = ["Results", "inspect_many"]

Results = Generator[tuple[Path, Image | PvefiError], None, None]

_FEW = 3
"""So many files are inspected sooner than processes are made."""
_MAX_PROCESSES = 8
"""Each may hold a file of up to 1 GiB."""


@dataclass(frozen=True, slots=True)
class _Failure:
    """An error of pvefi on its way between processes: exceptions with several arguments cannot be pickled."""

    kind: type[PvefiError]
    arguments: tuple[str | int | None, ...]

    def error(self) -> PvefiError:
        return self.kind(*self.arguments)  # type: ignore[arg-type]  # those of the class, as it was made


def inspect_many(paths: Sequence[Path], processes: int | None = None) -> Results:
    """Yield each path with what it holds, or with the error that says why it is no image.

    `processes` is how many work at once; by default as many as there are CPUs for them. Closing the iterator,
    or an exception in whoever takes the results, ends the processes.
    """
    if processes is None:
        processes = min(_cpus(), _MAX_PROCESSES, len(paths)) if len(paths) > _FEW else 1
    if processes <= 1:
        for path in paths:
            found = _inspected(path)
            yield path, found.error() if isinstance(found, _Failure) else found
        return
    yield from _in_processes(paths, processes)


def _in_processes(paths: Sequence[Path], processes: int) -> Results:
    before = set(multiprocessing.active_children())
    executor = ProcessPoolExecutor(processes, mp_context=_context(), initializer=_be_interruptible)
    done = False
    try:
        futures: list[Future[Image | _Failure]] = [executor.submit(_inspected, path) for path in paths]
        for left, path, future in zip(reversed(range(len(paths))), paths, futures, strict=True):
            found = future.result()
            done = not left  # whoever has the last result need not ask for more
            yield path, found.error() if isinstance(found, _Failure) else found
    except BrokenProcessPool as error:
        raise MachineError(
            "a process that inspected images was killed", "perhaps for memory: give fewer files at once"
        ) from error
    finally:
        if not done:
            for process in set(multiprocessing.active_children()) - before:
                process.kill()  # one that was just forked may lose any other signal
        executor.shutdown(wait=True, cancel_futures=True)


def _context() -> BaseContext:
    """Return how processes are made: by fork, which costs 10 ms, unless threads make that unsafe."""
    if sys.platform == "linux" and threading.active_count() == 1:
        return multiprocessing.get_context("fork")
    return multiprocessing.get_context("spawn")


def _cpus() -> int:
    with contextlib.suppress(AttributeError):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _be_interruptible() -> None:
    """Let Ctrl-C end this process at once and without a word: its parent has the say."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _inspected(path: Path) -> Image | _Failure:
    try:
        return inspect(path)
    except ImageError as error:
        where = error.path, error.offset, error.expected, error.found, error.way_out
        return _Failure(ImageError, where)
    except PvefiError as error:
        kind = UsageError if isinstance(error, UsageError) else PvefiError
        return _Failure(kind, (error.message, error.way_out))
