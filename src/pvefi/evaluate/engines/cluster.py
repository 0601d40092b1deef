# SPDX-License-Identifier: GPL-2.0-or-later
"""The engine that hands tasks to a Dask cluster: to a scheduler that is there, and the workers that it has.

What is said to the scheduler is `cluster_run`, and what its workers do is `cluster_worker`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
import warnings
from collections.abc import Generator, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from pvefi.errors import MachineError, UsageError
from pvefi.evaluate.engines.engine import Happening
from pvefi.evaluate.task import Task
from pvefi.trace.spelling import escaped

__all__ = ["ClusterEngine"]

_LEAVE_SECONDS = 15.0
"""How long taking back what the scheduler still has may take at the most."""
_SCHEMES = ("tcp", "tls")
_LOGGERS = ("distributed", "tornado", "asyncio")


class ClusterEngine:
    """Runs tasks on the cluster whose scheduler is at `address`, such as "tcp://host:8786".

    Raise UsageError where that is no address, MachineError where Dask is not installed.
    """

    def __init__(self, address: str) -> None:
        if find_spec("distributed") is None:
            raise MachineError(
                "a cluster needs Dask's distributed, which is not installed here",
                "pip install 'pvefi[cluster]'",
            )
        self._address = _checked(address)
        self._threads = 0

    @property
    def jobs(self) -> int:
        """How many threads the workers have, when it was last known; 0 before that."""
        return self._threads

    def run(self, tasks: Sequence[Task], files: Mapping[str, Path]) -> Generator[Happening, None, None]:
        """Run `tasks`; see Engine. MachineError when the scheduler cannot be reached, or is gone."""
        happened: queue.SimpleQueue[Happening | Exception | None] = queue.SimpleQueue()
        with _quiet(), self._speaking(tasks, files, happened):
            while (happening := happened.get()) is not None:
                if isinstance(happening, Exception):
                    raise happening
                yield happening

    @contextlib.contextmanager
    def _speaking(
        self,
        tasks: Sequence[Task],
        files: Mapping[str, Path],
        happened: queue.SimpleQueue[Happening | Exception | None],
    ) -> Iterator[None]:
        """Speak with the scheduler in a thread of its own, and take back what it still has at the end."""
        from pvefi.evaluate.engines.cluster_run import ClusterRun

        run = ClusterRun(self._address, tasks, files, happened.put, self._has_threads)
        loop = asyncio.new_event_loop()

        def speak() -> None:
            try:
                with asyncio.Runner(loop_factory=lambda: loop) as runner:
                    runner.run(run.speak())
            except asyncio.CancelledError:
                happened.put(None)
            except Exception as error:  # whatever it is, it is for the thread that waits
                happened.put(error)
            else:
                happened.put(None)

        thread = threading.Thread(target=speak, name="pvefi-cluster", daemon=True)
        thread.start()
        try:
            yield
        finally:
            with contextlib.suppress(RuntimeError):  # the loop has ended by itself
                loop.call_soon_threadsafe(run.leave)
            thread.join(_LEAVE_SECONDS)

    def _has_threads(self, threads: int) -> None:
        self._threads = threads


def _checked(address: str) -> str:
    whole = address if "://" in address else f"tcp://{address}"
    with contextlib.suppress(ValueError):
        parts = urlsplit(whole)
        if parts.scheme in _SCHEMES and parts.hostname and parts.port:
            return whole
    expected = "tcp://HOST:PORT or tls://HOST:PORT"
    raise UsageError(
        f"{escaped(address)}: expected the address of a scheduler, {expected}", "dask scheduler tells its own"
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Dask from writing to the terminal: what matters of it is said in words of our own."""
    import distributed

    loggers = [
        logging.getLogger(name) for name in logging.root.manager.loggerDict if name.startswith(_LOGGERS)
    ]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", distributed.versions.VersionMismatchWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
