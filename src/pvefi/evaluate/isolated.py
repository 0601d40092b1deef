# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs one task in a process of its own, which is ended from outside when it does not end by itself.

A crash of the CPU emulator, memory that runs out, a kernel that hangs: none of it meets another task.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from pvefi.evaluate.task import Problem, Task, TaskResult, failed_result, result_from_json
from pvefi.machines.qemu.child import signal_name
from pvefi.machines.qemu.process import dies_with_parent
from pvefi.machines.readiness import is_ready
from pvefi.report.json_node import Node
from pvefi.trace.spelling import escaped

__all__ = ["Isolated", "run_isolated"]

GRACE = 30.0
"""Seconds that a task's process may take beyond the guest's time-out: to start, to read, to report."""
_LAST_BREATH = 2.0
"""Seconds that a worker has between closing its output and its end."""
_WORDS_AT_MOST = 400  # characters of what a process said last
_TAIL = 4096  # bytes


def run_isolated(task: Task, files: Mapping[str, Path]) -> TaskResult:
    """Run `task` in a process of its own and return what came of it; no process is left behind.

    `files` has a path for each SHA-256. A process that dies is Problem.CRASHED, one that does not end
    Problem.STUCK.
    """
    with Isolated() as worker:
        return worker.run(task, files)


class Isolated:
    """Runs one task after the other, each in a process of its own; all die with the thread that made this.

    `grace` is in seconds, see GRACE; `program` is what runs instead of pvefi's own worker, in tests.
    """

    def __init__(self, *, grace: float = GRACE, program: Sequence[str] = ()) -> None:
        self._grace = grace
        self._program = program or (sys.executable, "-m", "pvefi.evaluate.worker")
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._over = False
        descriptor = os.memfd_create("pvefi-errors", os.MFD_CLOEXEC)
        fcntl.fcntl(descriptor, fcntl.F_SETFL, os.O_APPEND)  # who reads it moves nobody's place
        self._errors = os.fdopen(descriptor, "r+b", buffering=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End what runs, and let go of everything."""
        self.end()
        self._errors.close()

    def start(self) -> None:
        """Let the worker make its imports, so that its first task need not wait for them."""
        self._started()

    def run(self, task: Task, files: Mapping[str, Path]) -> TaskResult:
        """Run `task` and return what came of it; see `run_isolated`."""
        told = {sha256: str(path.absolute()) for sha256, path in files.items()}
        order = json.dumps({"task": task.to_json(), "files": told}).encode("ascii") + b"\n"
        said = self._errors.seek(0, os.SEEK_END)
        process = self._started()
        if process is None:
            return _failed(task, Problem.CRASHED, "nothing runs here any more")
        try:
            status, output = _asked(process, order, time.monotonic() + task.timeout + self._grace)
        except TimeoutError:
            self._kill()
            why = f"it was ended {self._grace:g} seconds after its time-out of {task.timeout:g} seconds"
            return _failed(task, Problem.STUCK, why)
        except EOFError:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_LAST_BREATH)  # its own end tells more than ours would
            self._kill()
            return _failed(task, Problem.CRASHED, self._last_words(process.wait(), said))
        if status != 0:
            return _failed(task, Problem.CRASHED, self._last_words(status, said))
        return result_from_json(Node(json.loads(output), "the task's process"))

    def end(self) -> None:
        """Kill what runs, with all that it has started; nothing starts any more. Any thread may call this."""
        with self._lock:
            self._over = True
        self._kill()

    def _started(self) -> subprocess.Popen[bytes] | None:
        """Return the worker, started anew where the last one is gone; None once all is over."""
        with self._lock:
            if self._over:
                return None
            if self._process is None:
                self._process = subprocess.Popen(
                    self._program,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=self._errors,
                    bufsize=0,
                    start_new_session=True,  # Ctrl-C is for whoever waits for it
                    # What the child calls between fork and exec takes no lock that a thread could hold.
                    preexec_fn=dies_with_parent(),  # noqa: PLW1509
                )
            return self._process

    def _kill(self) -> None:
        with self._lock:
            process, self._process = self._process, None
            if process is None:
                return
            if process.poll() is None:
                with _stopped(process.pid) as descendants:
                    process.kill()
                    for descriptor in descendants:
                        with contextlib.suppress(ProcessLookupError):
                            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            process.wait()

    def _last_words(self, status: int, since: int) -> str:
        """Say how a process ended, and what it said last."""
        how = f"was ended by {signal_name(-status)}" if status < 0 else f"ended with status {status}"
        self._errors.seek(max(since, self._errors.seek(0, os.SEEK_END) - _TAIL))
        lines = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        said = f"; it said last: {escaped(lines[-1])[:_WORDS_AT_MOST]}" if lines else ""
        return f"the process that ran it {how}{said}"


def _asked(process: subprocess.Popen[bytes], order: bytes, until: float) -> tuple[int, bytes]:
    """Give a worker its order and return its answer; EOFError when it dies, TimeoutError when it does not."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(order)
    except BrokenPipeError as error:
        raise EOFError from error
    data = bytearray()
    while b"\n" not in data:
        data += _part(process.stdout, until)
    head, _, rest = data.partition(b"\n")
    status, size = (int(word) for word in head.split())
    output = bytearray(rest)
    while len(output) < size:
        output += _part(process.stdout, until)
    return status, bytes(output)


def _part(stream: IO[bytes], until: float) -> bytes:
    if not is_ready(stream.fileno(), max(0.0, until - time.monotonic())):
        raise TimeoutError
    part = os.read(stream.fileno(), 1 << 16)
    if not part:
        raise EOFError
    return part


def _failed(task: Task, problem: Problem, why: str) -> TaskResult:
    return failed_result(task, problem, why, worker=platform.node())


@contextlib.contextmanager
def _stopped(process: int) -> Iterator[list[int]]:
    """Stop a process so that it starts nothing more; give the descriptors of all that it has started."""
    with contextlib.ExitStack() as stack:
        os.kill(process, signal.SIGSTOP)
        found: list[int] = []
        for descendant in _descendants(process):
            with contextlib.suppress(OSError):
                descriptor = os.pidfd_open(descendant)
                stack.callback(os.close, descriptor)
                found.append(descriptor)
        yield found


def _descendants(process: int) -> list[int]:
    """Return the numbers of a process's children, their children and so on."""
    parents: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError, ValueError):
                status = (folder / "stat").read_text(encoding="utf-8", errors="replace")
                parent = int(status.rpartition(")")[2].split()[1])  # proc(5): the name may hold anything
                parents.setdefault(parent, []).append(int(folder.name))
    found, left = [], [process]
    while left:
        children = parents.get(left.pop(), [])
        found += children
        left += children
    return found
