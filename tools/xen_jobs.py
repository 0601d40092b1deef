# SPDX-License-Identifier: GPL-2.0-or-later
"""Jobs in the tests' dom0: commands with their ends as values; tools/dom0/agent.py is the other side."""

from __future__ import annotations

import base64
import concurrent.futures
import contextlib
import itertools
import json
import shlex
import shutil
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, TracebackType

from xen_machine import Dom0Error, Machine

__all__ = ["KEPT_OF_CONSOLE", "Dom0", "Job", "JobEnd"]

SAVE_SECONDS = 300.0
LOAD_SECONDS = 400.0
ANSWER_SECONDS = 90.0
"""How long dom0 may need for an answer beyond the time that a job has."""
KEPT_OF_CONSOLE = 12_000
"""Bytes of each console that a failure shows, from its end."""
Answer = concurrent.futures.Future[Mapping[str, object]]


@dataclass(frozen=True)
class JobEnd:
    """How a job in dom0 ended: `status` below 0 is a signal; `expired` when its time ran out."""

    command: Sequence[str] | str
    status: int
    stdout: bytes
    stderr: bytes
    seconds: float
    expired: bool

    @property
    def text(self) -> str:
        """What it wrote to its standard output."""
        return self.stdout.decode("utf-8", "replace")

    @property
    def errors(self) -> str:
        """What it wrote to its standard error."""
        return self.stderr.decode("utf-8", "replace")

    def __str__(self) -> str:
        how = "did not end in time" if self.expired else f"ended with status {self.status}"
        return f"{self.command} {how} after {self.seconds:.1f} s\n{self.text}\n{self.errors}".rstrip()


class Job:
    """A command that runs in a dom0."""

    def __init__(
        self, dom0: Dom0, number: int, command: Sequence[str] | str, end: Answer, seconds: float
    ) -> None:
        self._dom0, self._number, self._command = dom0, number, command
        self._end, self._latest = end, time.monotonic() + seconds + ANSWER_SECONDS

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self._end.done()

    def wait(self) -> JobEnd:
        """Return how it ended; Dom0Error when dom0 does not tell long after its time has run out."""
        told = self._dom0.answer(self._end, self._latest - time.monotonic(), str(self._command))
        return JobEnd(
            self._command,
            int(str(told["status"])),
            _bytes(told["stdout"]),
            _bytes(told["stderr"]),
            float(str(told["seconds"])),
            bool(told["expired"]),
        )

    def output(self) -> bytes:
        """Return what it has written to its standard output so far."""
        return _bytes(self._dom0.ask({"do": "output", "job": self._number})["stdout"])

    def errors(self) -> bytes:
        """Return what it has written to its standard error so far."""
        return _bytes(self._dom0.ask({"do": "output", "job": self._number})["stderr"])

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._dom0.ask({"do": "signal", "job": self._number, "number": number})


class Dom0:
    """A running dom0: a QEMU process, its monitor, and the port over which the dom0 takes jobs.

    `folder` is dom0's /host, there for both sides.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._numbers = itertools.count(1)
        self._waiting: dict[int, Answer] = {0: Answer()}
        self._lock = threading.Lock()
        self._reader = threading.Thread(target=self._read, name="dom0-jobs", daemon=True)
        self._reader.start()

    def __enter__(self) -> Dom0:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def folder(self) -> Path:
        """The folder that dom0 has as /host."""
        return self._machine.share

    @property
    def console(self) -> str:
        """What Xen and dom0's kernel have written to the serial port."""
        return self._machine.console.read_bytes().decode("utf-8", "replace")

    def give(self, file: Path, name: str = "") -> str:
        """Put a file where dom0 sees it, and return its path there."""
        target = self.folder / (name or file.name)
        if not target.exists():
            part = target.with_name(f".part-{target.name}")
            shutil.copyfile(file, part)
            part.replace(target)
        return f"/host/{target.name}"

    def start(
        self,
        command: Sequence[str] | str,
        *,
        seconds: float = 120.0,
        given: bytes = b"",
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> Job:
        """Start a command, words or a text for the shell, with `given` as its input; it is killed in time."""
        return self._start(command, seconds, given, environment, preloaded=False)

    def pvefi(
        self,
        *words: object,
        seconds: float = 240.0,
        given: bytes = b"",
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> Job:
        """Start the command pvefi with these words, by a Python in dom0 that has all of it loaded.

        `start(["pvefi", ...])` does the same from the beginning, and takes many seconds longer.
        """
        return self._start([str(word) for word in words], seconds, given, environment, preloaded=True)

    def load_pvefi(self, archive: bytes) -> None:
        """Put the package pvefi into dom0, out of a tar archive, and have it loaded for `pvefi`."""
        unpack = (
            "mkdir -p /opt && cat >/run/pvefi.tar && tar -xzf /run/pvefi.tar -C /opt && rm /run/pvefi.tar"
        )
        end = self.run(unpack, given=archive)
        if end.status:
            raise Dom0Error(f"expected status 0: {end}")
        _, answer = self._send({"do": "load"})
        self.answer(answer, LOAD_SECONDS, "pvefi is loaded")

    def _start(
        self,
        command: Sequence[str] | str,
        seconds: float,
        given: bytes,
        environment: Mapping[str, str],
        *,
        preloaded: bool,
    ) -> Job:
        words = command if isinstance(command, str) else [str(word) for word in command]
        number, end = self._send(
            {
                "do": "start",
                "command": words,
                "seconds": seconds,
                "input": base64.b64encode(given).decode(),
                "environment": dict(environment),
                "preloaded": preloaded,
            }
        )
        return Job(self, number, words, end, seconds)

    def run(
        self,
        command: Sequence[str] | str,
        *,
        seconds: float = 120.0,
        given: bytes = b"",
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> JobEnd:
        """Run a command to its end; Dom0Error when that does not come in time."""
        end = self.start(command, seconds=seconds, given=given, environment=environment).wait()
        if end.expired:
            raise Dom0Error(f"expected an end within {seconds:.0f} s: {end}")
        return end

    def done(self, command: Sequence[str] | str, *, seconds: float = 120.0) -> str:
        """Run a command that has to succeed, and return what it wrote."""
        end = self.run(command, seconds=seconds)
        if end.status:
            raise Dom0Error(f"expected status 0: {end}")
        return end.text

    def ask(self, what: Mapping[str, object]) -> Mapping[str, object]:
        """Return the agent's answer to anything but a start."""
        _, answer = self._send(what)
        return self.answer(answer, ANSWER_SECONDS, str(what["do"]))

    def answer(self, answer: Answer, seconds: float, what: str) -> Mapping[str, object]:
        """Wait for an answer of the agent."""
        try:
            told = answer.result(max(0.0, seconds))
        except concurrent.futures.TimeoutError:
            raise Dom0Error(f"dom0 does not answer: {what}") from None
        if "error" in told:
            raise Dom0Error(f"dom0 cannot do it: {what}: {told['error']}")
        return told

    def first_answer(self, seconds: float) -> None:
        """Wait until a dom0 that starts takes jobs."""
        with self._lock:
            up = self._waiting.setdefault(0, Answer())
        self.answer(up, seconds, "its start")

    def pictures(self) -> dict[str, str]:
        """Return what a failed test shows: every console, and the list of domains, as far as dom0 tells."""
        found = {"the console of Xen and dom0": self.console[-KEPT_OF_CONSOLE:]}
        with contextlib.suppress(Dom0Error):
            told = self.run(
                "xl list; xenstore-ls /local/domain | head -n 200; cd /var/log/xen/console && "
                f'for f in *; do echo "==> $f <=="; tail -c {KEPT_OF_CONSOLE} "$f"; done',
                seconds=30,
            )
            found["domains and their consoles"] = told.text
        return found

    def save(self, file: Path) -> None:
        """Write the machine's state into a file; it stands still after that."""
        monitor = self._machine.monitor
        monitor.execute("migrate-set-parameters", {"max-bandwidth": 1 << 40})
        # QEMU has done when the pipe has taken it all; the file has when its writer's status was 0.
        part, whole = file.with_name(f"{file.name}.writing"), shlex.quote(str(file))
        written = shlex.quote(str(part))
        monitor.execute("migrate", {"uri": f"exec:cat >{written} && mv {written} {whole} || rm {written}"})
        end = time.monotonic() + SAVE_SECONDS
        while time.monotonic() < end:
            told = monitor.execute("query-migrate", timeout=30)
            status = told.get("status") if isinstance(told, dict) else None
            if status == "completed" and file.exists():
                return
            if status in ("failed", "cancelled") or (status == "completed" and not part.exists()):
                if file.exists():
                    return
                raise Dom0Error(f"QEMU cannot save its state: {told}")
            time.sleep(0.1)
        raise Dom0Error(f"QEMU has not saved its state within {SAVE_SECONDS:.0f} s")

    def close(self) -> None:
        """End the machine; nothing of it is left."""
        self._machine.close()
        self._reader.join(5.0)

    def _send(self, what: Mapping[str, object]) -> tuple[int, Answer]:
        number, answer = next(self._numbers), Answer()
        with self._lock:
            self._waiting[number] = answer
        try:
            self._machine.jobs.sendall(json.dumps({"id": number, **what}).encode() + b"\n")
        except OSError as error:
            raise Dom0Error(f"dom0 is gone: {error}{self._machine.last_words()}") from None
        return number, answer

    def _read(self) -> None:
        held = b""
        with contextlib.suppress(OSError):
            while part := self._machine.jobs.recv(1 << 16):
                *lines, held = (held + part).split(b"\n")
                for line in lines:
                    told = json.loads(line)
                    with self._lock:
                        answer = self._waiting.setdefault(told["id"], Answer())
                    answer.set_result(told)
        with self._lock:
            left = [answer for answer in self._waiting.values() if not answer.done()]
        for answer in left:
            answer.set_exception(Dom0Error(f"dom0 is gone{self._machine.last_words()}"))


def _bytes(told: object) -> bytes:
    return base64.b64decode(str(told))
