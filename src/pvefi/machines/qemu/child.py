# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs short-lived programs so that none outlives its use, whatever it or pvefi does meanwhile."""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pvefi.errors import MachineError

__all__ = ["Ended", "child", "run"]

_CPU_SECONDS = 6  # the kernel ends a child that computes for longer, also when pvefi is gone
_OUTPUT_LIMIT = 1 << 20  # bytes; `-machine help` writes 4 KB


@dataclass(frozen=True)
class Ended:
    """How a program ended: `status` as in `subprocess` (below 0 a signal), None when its time ran out."""

    status: int | None
    output: str

    @property
    def problem(self) -> str:
        """What went wrong in one line, or "" when nothing did."""
        if self.status == 0:
            return ""
        if self.status is None:
            return "it did not end in time"
        if self.status < 0:
            return f"it was ended by {signal_name(-self.status)}"
        return self.first_line or f"it ended with status {self.status}"

    @property
    def first_line(self) -> str:
        """The first line that is no warning, without the name of the program before it."""
        lines = [line.strip() for line in self.output.splitlines()]
        told = [line for line in lines if line and "warning:" not in line]
        if not told:
            return ""
        before, colon, rest = told[0].partition(": ")
        return rest if colon and " " not in before else told[0]


def signal_name(number: int) -> str:
    """Return SIGSEGV for 11; a number that has no name as it is."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


@contextlib.contextmanager
def child(
    arguments: Sequence[str], *, descriptors: Sequence[int] = (), errors_apart: bool = False
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a program and give its process; at the end it and all that it has started are killed.

    Its stdout is a pipe, with stderr in it; with `errors_apart` stderr is the pipe and stdout is nowhere.
    It has a session of its own: Ctrl-C is pvefi's to handle. MachineError when it cannot be started.
    """
    pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL
    try:
        process = subprocess.Popen(
            arguments,
            stdin=nowhere,
            stdout=nowhere if errors_apart else pipe,
            stderr=pipe if errors_apart else subprocess.STDOUT,
            pass_fds=descriptors,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise MachineError(f"{arguments[0]} cannot be run: {reason}") from error
    try:
        with contextlib.suppress(OSError, ValueError):  # it may have ended; a lower limit may be in force
            resource.prlimit(process.pid, resource.RLIMIT_CPU, (_CPU_SECONDS, _CPU_SECONDS))
        yield process
    finally:
        if process.returncode is None:  # not waited for yet, so the number is still its own
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def run(arguments: Sequence[str], seconds: float) -> Ended:
    """Run a program for at most `seconds` and return how it ended, with all that it wrote.

    MachineError when it cannot be started.
    """
    end = time.monotonic() + seconds
    output = bytearray()
    with child(arguments) as process:
        assert process.stdout is not None
        pipe = process.stdout.fileno()
        while (
            len(output) < _OUTPUT_LIMIT and select.select([pipe], [], [], max(0, end - time.monotonic()))[0]
        ):
            part = os.read(pipe, 65536)
            if not part:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(max(0.01, end - time.monotonic()))
                break
            output += part
        status = process.returncode
    return Ended(status, output.decode(errors="replace"))
