# SPDX-License-Identifier: GPL-2.0-or-later
"""One boot of an evaluation before it has run, and what came of it: values that travel between processes.

Both have a form in JSON, so that a task can run in another process or on another host, and a result be kept.
Files are named by their SHA-256: who runs a task is given a file of each hash.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum

from pvefi import __version__
from pvefi.report.json_node import Node
from pvefi.trace.values import Json

__all__ = [
    "BootHost",
    "FileRef",
    "Problem",
    "Task",
    "TaskKind",
    "TaskResult",
    "failed_result",
    "result_from_json",
    "task_from_json",
]


class TaskKind(StrEnum):
    """What a boot of an evaluation is for."""

    HANDOFF = "handoff"
    """To the hand-off, which is recorded, or to the end of a program that is no kernel.

    On the embedded machine the first repetition counts instructions, exactly; the others are timed.
    """
    USERSPACE = "userspace"
    """To the first process, as quickly as the machine can: what is timed."""
    FACTS = "facts"
    """With pvefi's own initrd, whose first process tells what the kernel was given, and switches off."""
    COUNT = "count"
    """The same by QEMU's own clock, exactly: a nanosecond an instruction, and waiting that is skipped."""


@dataclass(frozen=True)
class FileRef:
    """A file by its contents; `name` is what people know it by, `size` in bytes."""

    name: str
    sha256: str
    size: int


@dataclass(frozen=True)
class Task:
    """One boot that is to run.

    `entry` is the name of one of pvefi's entries, or of a ForeignWay: who else boots the image. `initrd` None
    is none, but for FACTS and COUNT, which bring their own. `command_line` is the user's, None where there
    was none. `profile` is the name of a profile, or one whole as JSON text; `faults` are what is injected, as
    `pvefi boot --inject` takes it. `repetition` counts from 0. `timeout` is in seconds of wall clock.
    """

    image: FileRef
    entry: str
    machine: str
    kind: TaskKind
    repetition: int = 0
    initrd: FileRef | None = None
    command_line: str | None = None
    memory_size: int = 512 << 20
    profile: str = "linux"
    faults: tuple[str, ...] = ()
    seed: int | None = None
    timeout: float = 300.0
    machine_options: Mapping[str, str] = field(default_factory=dict)
    """What the user wants of QEMU: `program`, `machine_type`, `accelerator`, `cpu`."""

    @property
    def id(self) -> str:
        """The task's name: the same for the same boot of the same files, 16 hexadecimal digits."""
        told = {name: value for name, value in self.to_json().items() if name != "timeout"}
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def label(self) -> str:
        """The task in words, for progress and messages."""
        again = f" #{self.repetition + 1}" if self.repetition else ""
        return f"{self.image.name} {self.entry} {self.machine} {self.kind}{again}"

    def to_json(self) -> dict[str, Json]:
        """Return the task as `task_from_json` takes it."""
        made: dict[str, Json] = asdict(self)
        made["kind"] = self.kind.value
        made["faults"] = list(self.faults)
        made["machine_options"] = dict(self.machine_options)
        return made


class Problem(StrEnum):
    """Why a task has no boot to tell of."""

    NONE = ""
    INPUT = "input"
    """The image cannot be booted so; nothing ran."""
    MACHINE = "machine"
    """The machine is missing, or failed for reasons outside the guest."""
    CRASHED = "crashed"
    """The process that ran it died; `why` has its last words."""
    STUCK = "stuck"
    """It was ended from outside, long after its time-out had passed."""


@dataclass(frozen=True)
class BootHost:
    """The host that a boot ran on: its name, its CPU's model, and how many of its CPUs pvefi may use."""

    name: str
    cpu: str
    cpus: int


@dataclass(frozen=True)
class TaskResult:
    """What came of a task.

    `boot` is the document that `pvefi boot --json` writes, empty where there was a `problem`; `why` then says
    what was expected, what was found and the way out. `calls` are the service calls, as lines of a trace.
    `console` is what the guest wrote, on the firmware's console and its serial port, cut where it is long.
    `files` are files of the guest as its first process found them, by path. `counter` is the CPU's
    time-stamp counter when that process began: with COUNT, QEMU's own time in nanoseconds since power-on, of
    which each instruction takes one, and waiting passes at once. `peak_memory` is the
    most that the task's process had resident, in bytes.
    """

    task: Task
    problem: Problem
    why: str
    boot: Mapping[str, Json]
    calls: tuple[Mapping[str, Json], ...]
    console: str
    files: Mapping[str, bytes]
    counter: int | None
    peak_memory: int
    worker: str
    """Where it ran: a host's name and a process number."""
    host: BootHost | None = None
    """The host where it ran; None where it did not run, or that is not known."""
    pvefi: str = __version__
    """The version of pvefi that ran it."""

    def to_json(self) -> dict[str, Json]:
        """Return the result as `result_from_json` takes it."""
        return {
            "schema": "pvefi/evaluate-result",
            "version": 1,
            "task": self.task.to_json(),
            "problem": self.problem.value,
            "why": self.why,
            "boot": dict(self.boot),
            "calls": [dict(call) for call in self.calls],
            "console": self.console,
            "files": {path: data.hex() for path, data in self.files.items()},
            "counter": self.counter,
            "peak_memory": self.peak_memory,
            "worker": self.worker,
            "host": None if self.host is None else asdict(self.host),
            "pvefi": self.pvefi,
        }


def failed_result(
    task: Task,
    problem: Problem,
    why: str,
    *,
    console: str = "",
    peak_memory: int = 0,
    worker: str = "",
    host: BootHost | None = None,
) -> TaskResult:
    """Return the result of a task that has no boot to tell of."""
    return TaskResult(
        task=task,
        problem=problem,
        why=why,
        boot={},
        calls=(),
        console=console,
        files={},
        counter=None,
        peak_memory=peak_memory,
        worker=worker,
        host=host,
    )


def task_from_json(node: Node) -> Task:
    """Return the task that `Task.to_json` wrote; UsageError when it is none."""
    initrd, command_line, seed = (node.member(name) for name in ("initrd", "command_line", "seed"))
    return Task(
        image=_file(node.member("image")),
        entry=node.member("entry").text(),
        machine=node.member("machine").text(),
        kind=node.member("kind").made(TaskKind, "a kind of task"),
        repetition=node.member("repetition").number(),
        initrd=None if initrd.value is None else _file(initrd),
        command_line=None if command_line.value is None else command_line.text(),
        memory_size=node.member("memory_size").word(),
        profile=node.member("profile").text(),
        faults=tuple(fault.text() for fault in node.member("faults").elements()),
        seed=None if seed.value is None else seed.number(),
        timeout=_seconds(node.member("timeout")),
        machine_options={name: one.text() for name, one in node.member("machine_options").members().items()},
    )


def result_from_json(node: Node) -> TaskResult:
    """Return the result that `TaskResult.to_json` wrote; UsageError when it is none."""
    counter, host = node.member("counter"), node.member("host")
    return TaskResult(
        task=task_from_json(node.member("task")),
        problem=node.member("problem").made(Problem, "a problem"),
        why=node.member("why").text(),
        boot=_object(node.member("boot")),
        calls=tuple(_object(call) for call in node.member("calls").elements()),
        console=node.member("console").text(),
        files={
            path: one.made(bytes.fromhex, "bytes in hexadecimal")
            for path, one in node.member("files").members().items()
        },
        counter=None if counter.value is None else counter.word(),
        peak_memory=node.member("peak_memory").word(),
        worker=node.member("worker").text(),
        host=None if host.value is None else _host(host),
        pvefi=node.member("pvefi").text(),
    )


def _file(node: Node) -> FileRef:
    name, sha256, size = (node.member(one) for one in ("name", "sha256", "size"))
    return FileRef(name.text(), sha256.text(), size.word())


def _host(node: Node) -> BootHost:
    name, cpu, cpus = (node.member(one) for one in ("name", "cpu", "cpus"))
    return BootHost(name.text(), cpu.text(), cpus.word())


def _seconds(node: Node) -> float:
    value = node.scalar()
    if not isinstance(value, int | float) or value < 0:
        node.unexpected("seconds")
    return float(value)


def _object(node: Node) -> dict[str, Json]:
    if not isinstance(node.value, dict):
        node.unexpected("an object")
    return dict(node.value)
