# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs in the tests' dom0: takes jobs from a virtio-serial port, one JSON object a line, and answers each.

What comes in has `id` and `do`, and what the answer has besides `id` is:

    start   `command` (a list of words, or a text for the shell), `input` (base64), `environment`, `seconds`:
            answered when the job has ended, with `status` (below 0 a signal), `stdout` and `stderr` (base64),
            `seconds`, and `expired` when its time ran out and it was killed with all of its session
            With `preloaded` the words are those of the command pvefi, which a Python runs that has it loaded.
    load    starts that Python, with the pvefi of /opt; answered when it can be used
    output  `job`, the id of a start: its `stdout` and `stderr` as they are so far
    signal  `job`, `number`: sent to the job itself, not to what it has started; `sent` is false after its end
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Protocol

PORT = "pvefi.jobs"
PORTS = Path("/sys/class/virtio-ports")
FOLDER = Path("/run/jobs")
DEVICES_SECONDS = 30.0
KILLED_SECONDS = 30.0
MESSAGE_BYTES = 1 << 16


def port_device() -> str:
    """Return the device of the port, once the kernel has it."""
    end = time.monotonic() + DEVICES_SECONDS
    while time.monotonic() < end:
        for name in PORTS.glob("*/name"):
            if name.read_text().strip() == PORT:
                return f"/dev/{name.parent.name}"
        time.sleep(0.05)
    sys.exit(f"agent: there is no virtio port {PORT}")


class Process(Protocol):
    """A job's process: subprocess.Popen, and what is like it."""

    pid: int
    returncode: int | None

    def wait(self, timeout: float) -> int: ...  # noqa: D102
    def send_signal(self, sig: int, /) -> None: ...  # noqa: D102


class Forked:
    """A process that the preloaded Python has started."""

    def __init__(self) -> None:
        self.pid = 0
        self.returncode: int | None = None
        self.started, self.ended = threading.Event(), threading.Event()

    def told(self, message: dict[str, int]) -> None:
        """Take what the preloaded Python says of it."""
        if "pid" in message:
            self.pid = message["pid"]
            self.started.set()
        else:
            self.returncode = message["status"]
            self.ended.set()

    def wait(self, timeout: float) -> int:
        """Wait for its end; subprocess.TimeoutExpired as of subprocess.Popen."""
        if not self.ended.wait(timeout) or self.returncode is None:
            raise subprocess.TimeoutExpired("pvefi", timeout)
        return self.returncode

    def send_signal(self, number: int, /) -> None:
        """Send it a signal, unless it has ended."""
        if self.returncode is None:
            os.kill(self.pid, number)


class Preloaded:
    """The Python that has pvefi loaded, at the other end of a socket."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            subprocess.Popen(
                ["python3", "/preloaded.py"], stdin=theirs.fileno(), env=os.environ | {"PYTHONPATH": "/opt"}
            )
        self._jobs: dict[int, Forked] = {}
        if not self._socket.recv(MESSAGE_BYTES):
            raise OSError("pvefi cannot be loaded")
        threading.Thread(target=self._hear, daemon=True).start()

    def start(
        self, number: int, words: list[str], environment: dict[str, str], streams: tuple[BinaryIO, ...]
    ) -> Forked:
        """Have it run the command pvefi with these words."""
        job = self._jobs[number] = Forked()
        message = json.dumps({"id": number, "words": words, "environment": environment}).encode()
        socket.send_fds(self._socket, [message], [stream.fileno() for stream in streams])
        job.started.wait()
        return job

    def _hear(self) -> None:
        while message := self._socket.recv(MESSAGE_BYTES):
            told = json.loads(message)
            self._jobs[told["id"]].told(told)


class Agent:
    """Answers on a port; every job has a thread that waits for its end."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._lock = threading.Lock()
        self._jobs: dict[int, Process] = {}
        self._preloaded: Preloaded | None = None

    def serve(self) -> None:
        """Take what comes in until the port has no more."""
        what: dict[str, Callable[[dict[str, object]], None]] = {
            "start": self.do_start,
            "load": self.do_load,
            "output": self.do_output,
            "signal": self.do_signal,
        }
        held = b""
        while part := os.read(self._port, 1 << 16):
            *lines, held = (held + part).split(b"\n")
            for line in lines:
                asked = json.loads(line)
                try:
                    what[asked["do"]](asked)
                except (OSError, ValueError, LookupError) as error:
                    self._answer(asked, error=f"{type(error).__name__}: {error}")

    def do_load(self, asked: dict[str, object]) -> None:
        """Have a Python load pvefi."""
        self._preloaded = Preloaded()
        self._answer(asked)

    def do_start(self, asked: dict[str, object]) -> None:
        """Start a job; its end is the answer."""
        number, command, given = int(str(asked["id"])), asked["command"], asked.get("environment")
        words = [str(word) for word in command] if isinstance(command, list) else None
        environment = {
            str(name): str(value) for name, value in (given.items() if isinstance(given, dict) else ())
        }
        folder = FOLDER / str(number)
        folder.mkdir(exist_ok=True)  # numbers begin anew where a saved dom0 goes on
        (folder / "stdin").write_bytes(base64.b64decode(str(asked.get("input", ""))))
        began = time.monotonic()
        job: Process
        with (
            (folder / "stdin").open("rb") as stdin,
            (folder / "stdout").open("wb") as stdout,
            (folder / "stderr").open("wb") as stderr,
        ):
            if asked.get("preloaded"):
                if self._preloaded is None or words is None:
                    raise ValueError("pvefi is not loaded")
                job = self._preloaded.start(number, words, environment, (stdin, stdout, stderr))
            else:
                job = subprocess.Popen(
                    words or ["/bin/sh", "-c", str(command)],
                    stdin=stdin,
                    stdout=stdout,
                    stderr=stderr,
                    env=os.environ | environment,
                    start_new_session=True,
                )
        self._jobs[number] = job
        threading.Thread(target=self._wait, args=(asked, job, began), daemon=True).start()

    def do_output(self, asked: dict[str, object]) -> None:
        """Tell what a job has written so far."""
        self._answer(asked, **self._written(str(asked["job"])))

    def do_signal(self, asked: dict[str, object]) -> None:
        """Send a signal to a job that has not ended."""
        job = self._jobs[int(str(asked["job"]))]
        job.send_signal(int(str(asked["number"])))
        self._answer(asked, sent=job.returncode is None)

    def _wait(self, asked: dict[str, object], job: Process, began: float) -> None:
        expired = False
        try:
            job.wait(float(str(asked["seconds"])))
        except subprocess.TimeoutExpired:
            expired = True
            with contextlib.suppress(ProcessLookupError):
                os.killpg(job.pid, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                job.wait(KILLED_SECONDS)
        seconds = time.monotonic() - began
        written = self._written(str(asked["id"]))
        self._answer(asked, status=job.returncode, seconds=seconds, expired=expired, **written)

    def _written(self, job: str) -> dict[str, str]:
        streams = ("stdout", "stderr")
        return {name: base64.b64encode((FOLDER / job / name).read_bytes()).decode() for name in streams}

    def _answer(self, asked: dict[str, object], **told: object) -> None:
        line = json.dumps({"id": asked["id"], **told}).encode() + b"\n"
        with self._lock:
            while line:
                line = line[os.write(self._port, line) :]


if __name__ == "__main__":
    device = os.open(port_device(), os.O_RDWR)
    os.write(device, b'{"id": 0}\n')
    Agent(device).serve()
