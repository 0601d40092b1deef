# SPDX-License-Identifier: GPL-2.0-or-later
"""One run of tasks on a Dask cluster, as its client sees it.

Dask carries tasks and results, and sees when a worker is gone: what ran there then runs on another one. The
scheduler has as many tasks as its workers have threads, so that all that are lost with a worker were running.
Files go straight to the workers, by their hash, before the first task that needs them; each to each once.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from pvefi.errors import MachineError
from pvefi.evaluate.engines.cluster_files import FileError, FileSender, asked, words_of
from pvefi.evaluate.engines.cluster_worker import greeting
from pvefi.evaluate.engines.engine import Finished, Happening, Lost, Notice, Started
from pvefi.evaluate.task import Problem, Task, TaskResult, result_from_json
from pvefi.report.json_node import Node

if TYPE_CHECKING:
    from distributed import Client, Future

__all__ = ["ClusterRun"]

T = TypeVar("T")

_CONNECT_SECONDS = 5.0
_ANSWER_SECONDS = 20.0
"""How long the scheduler, or a worker that is asked, may take to answer."""
_LEAVE_SECONDS = 3.0
_LOOK_SECONDS = 1.0
"""How often it is looked which workers there are."""
_TRIES = 3
"""How often a task is handed over again that somebody else has taken from the scheduler."""


class ClusterRun:
    """Hands `tasks` to the scheduler at `address`, and tells `happen` all that happens.

    `threads` is told how many threads the workers have, whenever that changes.
    """

    def __init__(
        self,
        address: str,
        tasks: Sequence[Task],
        files: Mapping[str, Path],
        happen: Callable[[Happening], None],
        threads: Callable[[int], None],
    ) -> None:
        self._address, self._happen, self._tell_threads = address, happen, threads
        self._name = uuid.uuid4().hex[:12]
        self._waiting = deque(enumerate(tasks))
        self._count = len(tasks)
        self._running: dict[asyncio.Task[TaskResult], str] = {}
        self._tasks: dict[str, Task] = {}
        self._sender = FileSender(files, self._name)
        self._futures: dict[str, tuple[Future[str], frozenset[str] | None]] = {}  # and who alone may run it
        self._places: dict[str, str] = {}  # key of a running task -> address of its worker
        self._workers: dict[str, int] = {}  # address -> threads, of those that can be used
        self._refused: dict[str, str] = {}  # address -> why it is not used
        self._looking = asyncio.Lock()
        self._said_waiting = False
        self._left = False
        self._speaking: asyncio.Task[None] | None = None

    async def speak(self) -> None:
        """Run all tasks; MachineError when the scheduler cannot be reached, or is gone."""
        self._speaking = asyncio.current_task()
        if self._left:
            return
        client = await self._client()
        try:
            await self._run(client)
        finally:
            for one in self._running:
                one.cancel()
            with contextlib.suppress(Exception):
                await asyncio.wait_for(client.cancel(list(client.futures), force=True), _LEAVE_SECONDS)
            await self._close(client)

    def leave(self) -> None:
        """End the run, and take back what the scheduler still has."""
        self._left = True
        if self._speaking is not None:
            self._speaking.cancel()

    async def _client(self) -> Client:
        from distributed import Client

        await self._knock()
        client = Client(
            self._address, asynchronous=True, timeout=_CONNECT_SECONDS, set_as_default=False, name="pvefi"
        )
        try:
            return await asyncio.wait_for(client, _CONNECT_SECONDS + 1)
        except Exception as error:  # of many kinds, by what answers at that address
            await self._close(client)
            raise self._nobody(f"something that does not speak its protocol: {words_of(error)}") from None

    async def _knock(self) -> None:
        """See at once whether somebody listens there; Dask would try again and again."""
        parts = urlsplit(self._address)
        try:
            opened = asyncio.open_connection(parts.hostname, parts.port)
            _, writer = await asyncio.wait_for(opened, _CONNECT_SECONDS)
            writer.close()
        except TimeoutError:
            raise self._nobody(f"nobody that answers within {_CONNECT_SECONDS:.0f} s") from None
        except OSError as error:
            why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
            raise self._nobody(f"nobody: {why}") from None

    def _nobody(self, found: str) -> MachineError:
        way_out = "dask scheduler starts one; --jobs runs the boots on this host"
        return MachineError(f"{self._address}: expected a Dask scheduler, found {found}", way_out)

    async def _close(self, client: Client) -> None:
        with contextlib.suppress(Exception):
            await asyncio.wait_for(client.close(), _LEAVE_SECONDS)

    async def _run(self, client: Client) -> None:
        client.subscribe_topic(self._name, self._starts)
        try:
            while self._waiting or self._running:
                await self._look(client)
                while self._waiting and len(self._running) < sum(self._workers.values()):
                    await self._hand_over(client, *self._waiting.popleft())
                if self._running:
                    await asyncio.wait(
                        self._running, timeout=_LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED
                    )
                else:
                    await asyncio.sleep(_LOOK_SECONDS)
                self._tell()
        finally:
            self._tell()

    def _tell(self) -> None:
        """Tell what has come; raise what went wrong, after all else."""
        done = [one for one in self._running if one.done() and not one.cancelled()]
        for one in sorted(done, key=lambda one: one.exception() is not None):
            result = one.result()
            self._finish(self._running.pop(one), result)

    def _finish(self, key: str, result: TaskResult) -> None:
        if self._places.pop(key, None) is None:
            self._happen(Started(result.task))
        del self._tasks[key]
        self._happen(Finished(result))

    async def _starts(self, event: tuple[float, Mapping[str, str]]) -> None:
        """A worker has begun a task."""
        key, worker = event[1]["key"], event[1]["worker"]
        if key not in self._tasks:
            return
        if (place := self._places.get(key)) is not None:
            self._happen(Lost(self._tasks[key], f"the worker {place} is gone"))
        self._places[key] = worker
        self._happen(Started(self._tasks[key], worker))

    async def _look(self, client: Client) -> None:
        """See which workers there are, and whether those that are new can be used."""
        async with self._looking:
            await self._look_once(client)

    async def _look_once(self, client: Client) -> None:
        there: Mapping[str, int] = await self._answer(client.nthreads())
        for gone in set(self._workers) - set(there):
            del self._workers[gone]
            for key in [key for key, place in self._places.items() if place == gone]:
                del self._places[key]
                self._happen(Lost(self._tasks[key], f"the worker {gone} is gone"))
        new = [address for address in there if address not in self._workers and address not in self._refused]
        for address, answer in (await self._said(asked(client, greeting, new))).items():
            if answer == greeting():
                self._workers[address] = there[address]
            else:
                self._refuse(address, f"expected {greeting()}, found {answer}")
        if new:
            await self._welcome(client, new)
        self._tell_threads(sum(self._workers.values()))
        refused = [self._refused[address] for address in there if address in self._refused]
        if not self._workers and refused:
            raise MachineError(
                f"{self._address}: none of its {len(there)} workers can be used; {refused[0]}",
                "the same pvefi has to be installed on all hosts",
            )
        if not self._workers and not self._said_waiting:
            self._happen(
                Notice(f"{self._address} has no workers: waiting for them (dask worker {self._address})")
            )
        self._said_waiting = not self._workers

    async def _welcome(self, client: Client, new: Sequence[str]) -> None:
        """Give new workers the files of what the scheduler has: it may be for them already.

        What only workers that are gone were to run is taken back, and handed over once more.
        """
        for task in list(self._tasks.values()):
            with contextlib.suppress(FileError):  # a task of that file that runs has it
                await self._place(client, task)
        left = [
            future
            for key, (future, workers) in self._futures.items()
            if workers is not None and key not in self._places and not workers & set(self._workers)
        ]
        if left and self._workers:
            await self._said(client.cancel(left, force=True))

    async def _place(self, client: Client, task: Task) -> None:
        for file in (task.image, task.initrd):
            if file is not None:
                sent = await self._said(self._sender.place(client, file, list(self._workers)))
                for address, why in sent.items():
                    self._refuse(address, why)

    def _refuse(self, address: str, why: str) -> None:
        self._workers.pop(address, None)
        self._refused[address] = f"the worker {address}: {why}"
        self._happen(Notice(f"not used: {self._refused[address]}"))

    async def _answer(self, asked: Awaitable[T]) -> T:
        """Return what the scheduler answers; MachineError when it does not."""
        try:
            return await self._said(asyncio.wait_for(asked, _ANSWER_SECONDS))
        except TimeoutError:
            raise self._gone(f"no answer for {_ANSWER_SECONDS:.0f} s") from None

    async def _said(self, asked: Awaitable[T]) -> T:
        """Return what comes through the scheduler, however long it takes; MachineError when that is gone."""
        try:
            return await asked
        except TimeoutError:
            raise
        except OSError as error:
            raise self._gone(words_of(error)) from None

    def _gone(self, how: str) -> MachineError:
        left = len(self._waiting) + len(self._running)
        return MachineError(
            f"{self._address}: the scheduler is gone, {left} of {self._count} boots were not done yet: {how}",
            "--resume goes on with them",
        )

    async def _hand_over(self, client: Client, number: int, task: Task) -> None:
        """Give a task to the scheduler, its files to the workers."""
        key = f"pvefi-{self._name}{number:06x}"
        self._tasks[key] = task
        try:
            await self._place(client, task)
        except FileError as error:
            self._finish(key, _without_boot(task, Problem.INPUT, str(error)))
            return
        self._running[asyncio.create_task(self._outcome(client, key, task))] = key

    async def _outcome(self, client: Client, key: str, task: Task) -> TaskResult:
        """Return what comes of a task; MachineError when the scheduler is gone."""
        import distributed

        why = ""
        for _ in range(_TRIES):
            # Only where there are workers that cannot be used are the others named: a task that has names
            # waits for those, even when they are gone.
            workers = frozenset(self._workers) if self._refused else None
            future: Future[str] = client.submit(
                _carried(),
                json.dumps(task.to_json()),
                greeting(),
                self._name,
                key,
                key=key,
                pure=False,
                workers=None if workers is None else list(workers),
            )
            self._futures[key] = (future, workers)
            try:
                return result_from_json(Node(json.loads(await future), "a worker"))
            except distributed.KilledWorker as error:
                times, last = error.allowed_failures + 1, error.last_worker.address
                why = f"the worker that ran it died, {times} times in a row; the last was {last}"
                return _without_boot(task, Problem.CRASHED, why)
            except distributed.CancelledError as error:
                if client.status != "running" or "connection-lost" in str(error):
                    raise self._gone("it has closed the connection") from None
                why = "it was taken from the scheduler"
            except Exception as error:  # what Dask or the worker raised, of any class
                if "deserialization of the task graph" in str(error):
                    raise MachineError(
                        f"{self._address}: the scheduler cannot read what {greeting()} sends it: "
                        f"{words_of(error.__cause__ or error)}",
                        "the same Dask and Python have to be installed on both hosts",
                    ) from None
                why = f"the worker failed: {words_of(error)}"
                await self._look(client)  # it may be one that cannot be used, and has not been asked yet
            finally:
                self._futures.pop(key)
                future.release()
            if self._places.pop(key, None) is not None:
                self._happen(Lost(task, why))
        return _without_boot(task, Problem.MACHINE, f"{_TRIES} times: {why}")


def _carried() -> Callable[[str, str, str, str], str]:
    """Return what runs a task, as a function that travels by value: a scheduler then needs no pvefi."""

    def run(words: str, expected: str, topic: str, key: str) -> str:
        from pvefi.evaluate.engines.cluster_worker import run_task

        return run_task(words, expected, topic, key)

    return run


def _without_boot(task: Task, problem: Problem, why: str) -> TaskResult:
    return TaskResult(task, problem, why, {}, (), "", {}, None, 0, "")
