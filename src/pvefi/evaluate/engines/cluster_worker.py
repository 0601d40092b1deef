# SPDX-License-Identifier: GPL-2.0-or-later
"""What a worker of a cluster does for an evaluation: keep files by their hashes, and run a task with them.

These functions run in the worker's process, called by `cluster_run` on the host of the evaluation. The files
stand in a folder of the worker's own, which Dask removes with the worker; each is whole and verified.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pvefi import __version__
from pvefi.errors import MachineError
from pvefi.evaluate.isolated import Isolated
from pvefi.evaluate.task import FileRef, Problem, Task, TaskResult, task_from_json
from pvefi.report.json_node import Node

if TYPE_CHECKING:
    from distributed import Worker

__all__ = ["greeting", "keep_piece", "lacking", "run_task"]

_ROOM = 4 << 30  # bytes of files that a worker keeps; those not used for longest make room
_FILE_SECONDS = 60.0
"""How long a task waits for its files: a worker that has just come gets them within a second or two."""
_LOOK_SECONDS = 0.1
_WATCH_SECONDS = 0.5


def greeting() -> str:
    """Return what has to be the same on both sides, so that each understands what the other sends."""
    return f"pvefi {__version__} on Python {sys.version_info.major}.{sys.version_info.minor}"


def lacking(hashes: Sequence[str], dask_worker: Worker | None = None) -> list[str]:
    """Return those of `hashes` (SHA-256) of which the worker has no file; the others count as used now."""
    folder = _folder_of(dask_worker)
    return [one for one in hashes if not _used(folder / one)]


def keep_piece(file: FileRef, run: str, offset: int, piece: bytes, dask_worker: Worker | None = None) -> None:
    """Keep `piece` of a file, `offset` bytes from its start; the last one makes it a file.

    Pieces come in order; `run` keeps the pieces of several evaluations apart. Raise ValueError where the
    whole does not have its hash, OSError where there is no room.
    """
    folder = _folder_of(dask_worker)
    part = folder / f"{file.sha256}.{run}.part"
    try:
        with part.open("r+b" if offset else "wb") as stream:
            stream.seek(offset)
            stream.write(piece)
        if offset + len(piece) < file.size:
            return
        with part.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        if found != file.sha256:
            raise ValueError(f"{file.name}: expected SHA-256 {file.sha256}, found {found}")
        _make_room(folder, file.size)
        part.replace(folder / file.sha256)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def run_task(words: str, expected: str, topic: str, key: str) -> str:
    """Run the task that `words` are the JSON of, in a process of its own, and return its result as JSON.

    That it starts is told as an event of `topic`, with the `key` by which the cluster knows it. When nobody
    waits for it any more, because it was cancelled or the client is gone, it ends. MachineError where
    `greeting` is not what is expected.
    """
    from distributed import get_worker

    if greeting() != expected:
        raise MachineError(f"expected {expected}, found {greeting()}")

    worker = get_worker()
    worker.log_event(topic, {"key": key, "worker": worker.address})
    task = task_from_json(Node(json.loads(words), "a task"))
    paths: dict[str, Path] = {}
    for file in (task.image, task.initrd):
        if file is None:
            continue
        path = _folder_of(worker) / file.sha256
        if not _arrives(path):
            why = f"{file.name}: did not reach the worker {worker.address} within {_FILE_SECONDS:.0f} s"
            return json.dumps(_without_boot(task, why, worker.address).to_json())
        paths[file.sha256] = path
    with Isolated() as isolated, _ended_when_cancelled(worker, key, isolated):
        return json.dumps(isolated.run(task, paths).to_json())


@contextlib.contextmanager
def _ended_when_cancelled(worker: Worker, key: str, isolated: Isolated) -> Iterator[None]:
    """End what runs when the scheduler takes the task back: Dask itself cannot end a thread."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_WATCH_SECONDS):
            state = worker.state.tasks.get(key)
            if state is None or state.state == "cancelled":
                isolated.end()
                return

    thread = threading.Thread(target=watch, name="pvefi-watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _folder_of(worker: Worker | None) -> Path:
    assert worker is not None, "Dask gives it to functions that have a parameter of this name"
    folder = Path(worker.local_directory) / "pvefi-files"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _arrives(path: Path) -> bool:
    """Say whether a file is there, or comes in time; it counts as used now."""
    end = time.monotonic() + _FILE_SECONDS
    while True:
        if _used(path):
            return True
        if time.monotonic() > end:
            return False
        time.sleep(_LOOK_SECONDS)


def _used(path: Path) -> bool:
    """Say whether a file is there; it then counts as used now."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return True


def _make_room(folder: Path, size: int) -> None:
    """Remove the files that were not used for longest, so that `size` bytes more are within what is kept."""
    kept = sorted(
        ((path.stat(), path) for path in folder.iterdir() if not path.name.endswith(".part")),
        key=lambda one: one[0].st_mtime,
    )
    total = size + sum(state.st_size for state, _ in kept)
    for state, path in kept:
        if total <= _ROOM:
            break
        path.unlink()
        total -= state.st_size


def _without_boot(task: Task, why: str, worker: str) -> TaskResult:
    return TaskResult(task, Problem.MACHINE, why, {}, (), "", {}, None, 0, worker)
