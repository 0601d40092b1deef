# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs in the tests' dom0: takes jobs from a virtio-serial port, one JSON object a line, and answers each.

What comes in has `id` and `do`, and what the answer has besides `id` is:

    start   `command` (a list of words, or a text for the shell), `input` (base64), `environment`, `seconds`:
            answered when the job has ended, with `status` (below 0 a signal), `stdout` and `stderr` (base64),
            `seconds`, and `expired` when its time ran out and it was killed with all of its session
    output  `job`, the id of a start: its `stdout` and `stderr` as they are so far
    signal  `job`, `number`: sent to the job itself, not to what it has started; `sent` is false after its end
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

PORT = "pvefi.jobs"
PORTS = Path("/sys/class/virtio-ports")
FOLDER = Path("/run/jobs")
DEVICES_SECONDS = 30.0


def port_device() -> str:
    """Return the device of the port, once the kernel has it."""
    end = time.monotonic() + DEVICES_SECONDS
    while time.monotonic() < end:
        for name in PORTS.glob("*/name"):
            if name.read_text().strip() == PORT:
                return f"/dev/{name.parent.name}"
        time.sleep(0.05)
    sys.exit(f"agent: there is no virtio port {PORT}")


class Agent:
    """Answers on a port; every job has a thread that waits for its end."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._lock = threading.Lock()
        self._jobs: dict[int, subprocess.Popen[bytes]] = {}

    def serve(self) -> None:
        """Take what comes in until the port has no more."""
        held = b""
        while part := os.read(self._port, 1 << 16):
            *lines, held = (held + part).split(b"\n")
            for line in lines:
                asked = json.loads(line)
                try:
                    getattr(self, f"do_{asked['do']}")(asked)
                except (OSError, ValueError, LookupError, AttributeError) as error:
                    self._answer(asked, error=f"{type(error).__name__}: {error}")

    def do_start(self, asked: dict[str, object]) -> None:
        """Start a job; its end is the answer."""
        command = asked["command"]
        words = command if isinstance(command, list) else ["/bin/sh", "-c", str(command)]
        folder = FOLDER / str(asked["id"])
        folder.mkdir()
        (folder / "stdin").write_bytes(base64.b64decode(str(asked.get("input", ""))))
        environment = os.environ | dict(asked.get("environment") or {})  # type: ignore[call-overload]
        began = time.monotonic()
        with (
            (folder / "stdin").open("rb") as stdin,
            (folder / "stdout").open("wb") as stdout,
            (folder / "stderr").open("wb") as stderr,
        ):
            job = subprocess.Popen(
                words, stdin=stdin, stdout=stdout, stderr=stderr, env=environment, start_new_session=True
            )
        self._jobs[int(str(asked["id"]))] = job
        threading.Thread(target=self._wait, args=(asked, job, began), daemon=True).start()

    def do_output(self, asked: dict[str, object]) -> None:
        """Tell what a job has written so far."""
        self._answer(asked, **self._written(str(asked["job"])))

    def do_signal(self, asked: dict[str, object]) -> None:
        """Send a signal to a job that has not ended."""
        job = self._jobs[int(str(asked["job"]))]
        job.send_signal(int(str(asked["number"])))
        self._answer(asked, sent=job.returncode is None)

    def _wait(self, asked: dict[str, object], job: subprocess.Popen[bytes], began: float) -> None:
        expired = False
        try:
            job.wait(float(str(asked["seconds"])))
        except subprocess.TimeoutExpired:
            expired = True
            with contextlib.suppress(ProcessLookupError):
                os.killpg(job.pid, signal.SIGKILL)
            job.wait()
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
