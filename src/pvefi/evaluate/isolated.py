# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs one task in a process of its own, which is ended from outside when it does not end by itself.

A crash of the CPU emulator, memory that runs out, a kernel that hangs: none of it meets another task.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from pvefi.errors import PvefiError
from pvefi.evaluate.task import Problem, Task, TaskResult, result_from_json
from pvefi.machines.qemu.child import signal_name
from pvefi.machines.qemu.process import dies_with_parent
from pvefi.report.json_node import Node
from pvefi.trace.spelling import escaped

__all__ = ["Isolated", "run_isolated"]

GRACE = 30.0
"""Seconds that a task's process may take beyond the guest's time-out: to start, to read, to report."""
_WORDS_AT_MOST = 400  # characters of what a process said last
_TAIL = 4096  # bytes


def run_isolated(task: Task, files: Mapping[str, Path]) -> TaskResult:
    """Run `task` in a process of its own and return what came of it; no process is left behind.

    `files` has a path for each SHA-256. A process that dies is Problem.CRASHED, one that does not end
    Problem.STUCK.
    """
    with Isolated(task, files) as running:
        return running.result()


class Isolated:
    """A task that runs; the process dies with the thread that made this."""

    def __init__(self, task: Task, files: Mapping[str, Path], *, grace: float = GRACE) -> None:
        self._task, self._grace = task, grace
        self._ended = threading.Lock()
        told = {sha256: str(path.absolute()) for sha256, path in files.items()}
        self._input = json.dumps({"task": task.to_json(), "files": told}).encode()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  closed with this
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "pvefi.evaluate.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                start_new_session=True,  # Ctrl-C is for whoever waits for it
                # What is called in the child between fork and exec takes no lock that a thread could hold.
                preexec_fn=dies_with_parent(),  # noqa: PLW1509
            )
        except BaseException:
            self._errors.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.end()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        self._errors.close()

    def result(self) -> TaskResult:
        """Wait for the end and return what came of it."""
        try:
            output, _ = self._process.communicate(self._input, self._task.timeout + self._grace)
        except subprocess.TimeoutExpired:
            self.end()
            return self._failed(
                Problem.STUCK,
                f"it was ended {self._grace:g} seconds after its time-out of {self._task.timeout:g} seconds",
            )
        if self._process.returncode == 0:
            try:
                return result_from_json(Node(json.loads(output), "the task's process"))
            except (ValueError, PvefiError) as error:
                return self._failed(Problem.CRASHED, f"its process answered with no result: {error}")
        return self._failed(Problem.CRASHED, self._last_words())

    def end(self) -> None:
        """Kill the process, and all that it has started, if it still runs; any thread may call this."""
        with self._ended:
            if self._process.poll() is not None:
                return
            with _stopped(self._process.pid) as descendants:
                self._process.kill()
                for descriptor in descendants:
                    with contextlib.suppress(ProcessLookupError):
                        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            self._process.wait()

    def _last_words(self) -> str:
        """Say how the process ended, and what it said last."""
        status = self._process.returncode
        how = f"was ended by {signal_name(-status)}" if status < 0 else f"ended with status {status}"
        self._errors.seek(max(0, self._errors.seek(0, os.SEEK_END) - _TAIL))
        lines = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        said = f"; it said last: {escaped(lines[-1])[:_WORDS_AT_MOST]}" if lines else ""
        return f"the process that ran it {how}{said}"

    def _failed(self, problem: Problem, why: str) -> TaskResult:
        return TaskResult(
            task=self._task,
            problem=problem,
            why=why,
            boot={},
            calls=(),
            console="",
            files={},
            counter=None,
            peak_memory=0,
            worker=f"{os.uname().nodename} {self._process.pid}",
        )


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
