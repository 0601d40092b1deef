# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs tasks, each in a process forked from this one: `python -m pvefi.evaluate.worker`.

On stdin is one JSON object a line: `task` as `Task.to_json` makes it, and `files` with a path for each
SHA-256. The answer on stdout is a line with the exit status of the task's process, below 0 a signal, and a
number of bytes; then so many bytes: the result as `TaskResult.to_json` makes it. Whatever else is written
goes to stderr. A boot needs half a second of imports, which are made once here.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import platform
import resource
import shutil
import sys
import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import IO

from pvefi.boot import Observer, boot
from pvefi.efi.intervention import parse_fault
from pvefi.entries import ENTRIES
from pvefi.errors import ImageError, MachineError, UsageError
from pvefi.evaluate.console import ConsoleText
from pvefi.evaluate.task import (
    BootHost,
    FileRef,
    Problem,
    Task,
    TaskKind,
    TaskResult,
    failed_result,
    task_from_json,
)
from pvefi.files import read_file
from pvefi.machines import ForeignWay, Machine
from pvefi.machines.choose import QemuWish, choose_machine
from pvefi.machines.qemu.command import MachineType
from pvefi.machines.qemu.process import dies_with_parent
from pvefi.machines.survey.host import survey_host
from pvefi.prepare import BootOptions, PreparedBoot, prepare, prepare_foreign
from pvefi.probe.witness import read_witness, witness_initrd
from pvefi.profile_file import profile_from_text
from pvefi.report.boot import to_json
from pvefi.report.json_node import Node
from pvefi.trace.jsonl import event_to_json
from pvefi.trace.values import Json
from pvefi.verdict import BootResult, Goal

__all__ = ["main", "run_task", "serve"]

_OWN_INITRD = (TaskKind.USERSPACE, TaskKind.FACTS, TaskKind.COUNT)
"""What needs a first process, and takes pvefi's own where none is given."""
_OWN_NAME = "pvefi's own first process"
_TELLS = "console={console} quiet panic=-1"
"""Where that process is to tell what it finds, the kernel's log too; on the console that would cost most."""


def run_task(task: Task, files: Mapping[str, Path]) -> TaskResult:
    """Boot what a task says and return what came of it; a bug of pvefi is the only error that comes out."""
    console = ConsoleText()
    try:
        result = _boot(task, files, console)
    except MachineError as error:
        return _failed(task, Problem.MACHINE, str(error), console)
    except (UsageError, ImageError) as error:
        return _failed(task, Problem.INPUT, str(error), console)
    told = task.kind in (TaskKind.FACTS, TaskKind.COUNT)  # elsewhere it is ended while it speaks
    witness = read_witness(bytes(console.serial_bytes)) if told else None
    return TaskResult(
        task=task,
        problem=Problem.NONE,
        why="",
        boot=_document(task, result),
        calls=tuple(event_to_json(call) for call in result.calls),
        console=console.text(),
        files=witness.files if witness is not None else {},
        counter=witness.counter if witness is not None else None,
        peak_memory=_peak_memory(),
        worker=_worker(),
        host=_host(),
    )


def _boot(task: Task, files: Mapping[str, Path], console: ConsoleText) -> BootResult:
    initrd = _initrd(task, files)
    prepared = _prepared(task, files, initrd)
    if prepared.image.unified is not None and task.initrd is None:  # it brings its own, and wants no other
        prepared = _prepared(task, files, None)
    if prepared.image.sha256 != task.image.sha256:
        raise _changed(task.image)
    observer = Observer(
        console=console.write, call=lambda _call: None, stage=lambda _text: None, serial=console.serial
    )
    return boot(prepared, observer)


def _prepared(task: Task, files: Mapping[str, Path], initrd: Path | None) -> PreparedBoot:
    foreign = None if task.entry in ENTRIES else ForeignWay(task.entry)
    machine = _machine(task, foreign)
    options = BootOptions(
        image=_path(task.image, files),
        machine=machine,
        entry="efi" if foreign else task.entry,
        profile=profile_from_text(task.profile),
        initrd=initrd,
        command_line=_command_line(task, machine),
        memory_size=task.memory_size,
        seed=task.seed,
        count=task.machine == "embedded" and task.repetition == 0,
        timeout=task.timeout,
        goal=_goal(task, machine),
        restarts=False,  # a guest that resets has not reached what it was to
        faults=tuple(parse_fault(text) for text in task.faults),
    )
    return prepare(options) if foreign is None else prepare_foreign(options, foreign)


def _command_line(task: Task, machine: Machine) -> str | None:
    """Return the user's, and behind it what pvefi's own first process needs where it is all about that."""
    if task.kind in (TaskKind.FACTS, TaskKind.COUNT):
        return f"{task.command_line or ''} {_TELLS.format(console=machine.console)}".lstrip()
    return task.command_line


def _goal(task: Task, machine: Machine) -> Goal:
    match task.kind:
        case TaskKind.HANDOFF:
            return Goal.HANDOFF if machine.watches else Goal.EXIT
        case TaskKind.USERSPACE:
            return Goal.USERSPACE
        case TaskKind.FACTS | TaskKind.COUNT:
            return Goal.EXIT


def _machine(task: Task, foreign: ForeignWay | None) -> Machine:
    if task.machine != "qemu":
        return choose_machine(task.machine)
    said = task.machine_options
    watched = task.kind is TaskKind.HANDOFF
    exact = task.kind is TaskKind.COUNT
    try:
        machine_type = MachineType(said["machine_type"]) if said.get("machine_type") else None
    except ValueError as error:
        known, found = ", ".join(kind.value for kind in MachineType), said["machine_type"]
        raise UsageError(f"expected one of QEMU's machine types {known}, found {found!r:.40}") from error
    wish = QemuWish(
        program=said.get("program"),
        machine_type=machine_type,
        # Hand-offs are watched for, and instructions counted, by TCG alone.
        accelerator="auto" if watched or exact else said.get("accelerator", "auto"),
        cpu=said.get("cpu", ""),
        foreign=foreign is not None,
        exact=exact,
        watched=watched,
    )
    return choose_machine("qemu", wish)


def _path(file: FileRef, files: Mapping[str, Path]) -> Path:
    path = files.get(file.sha256)
    if path is None:
        raise UsageError(f"{file.name}: expected a file of SHA-256 {file.sha256}, found none here")
    return path


def _changed(file: FileRef) -> UsageError:
    return UsageError(f"{file.name}: changed since the evaluation began", "run the command again")


def _initrd(task: Task, files: Mapping[str, Path]) -> Path | None:
    """Return the path of a copy of the initrd, which nobody can change any more; None for no initrd."""
    if task.initrd is None:
        return _memory_file(witness_initrd()) if task.kind in _OWN_INITRD else None
    data = read_file(
        _path(task.initrd, files),
        "an initial ramdisk",
        less_than=task.memory_size,
        way_out="give a larger --memory",
    )
    if hashlib.sha256(data).hexdigest() != task.initrd.sha256:
        raise _changed(task.initrd)
    return _memory_file(data)


def _memory_file(data: bytes | memoryview) -> Path:
    """Return the path of a file in memory, which lasts as long as this process."""
    descriptor = os.memfd_create("pvefi-initrd", os.MFD_CLOEXEC)
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(data)
    return Path(f"/proc/{os.getpid()}/fd/{descriptor}")


def _document(task: Task, result: BootResult) -> dict[str, Json]:
    """Return the boot's document, its files named as people know them."""
    initrd = task.initrd.name if task.initrd is not None else _OWN_NAME if result.initrd else ""
    return to_json(replace(result, image=task.image.name, initrd=initrd))


def _failed(task: Task, problem: Problem, why: str, console: ConsoleText) -> TaskResult:
    return failed_result(
        task,
        problem,
        why,
        console=console.text(),
        peak_memory=_peak_memory(),
        worker=_worker(),
        host=_host(),
    )


def _peak_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10  # kilobytes: getrusage(2)


def _worker() -> str:
    return f"{platform.node()} {os.getpid()}"


def _host() -> BootHost:
    host = survey_host()
    return BootHost(platform.node(), host.processor, host.cores)


def serve(orders: IO[bytes], answers: IO[bytes]) -> None:
    """Take one task a line and answer each, run in a process forked from this one, until the last."""
    for order in orders:
        result = os.memfd_create("pvefi-result", os.MFD_CLOEXEC)
        with os.fdopen(result, "r+b") as file:
            status = _in_child(order, file)
            size = file.seek(0, os.SEEK_END) if status == 0 else 0
            answers.write(b"%d %d\n" % (status, size))
            file.seek(0)
            shutil.copyfileobj(file, answers)
        answers.flush()


def _in_child(order: bytes, file: IO[bytes]) -> int:
    """Run a task in a child, which writes its result to `file`; return its exit status, below 0 a signal."""
    arrange_death = dies_with_parent()
    child = os.fork()
    if child == 0:
        try:
            arrange_death()
            _answer(order, file)
            os._exit(0)
        except BaseException:  # whatever it is, it ends this child and nothing else
            traceback.print_exc()
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _answer(order: bytes, file: IO[bytes]) -> None:
    root = Node(json.loads(order), "stdin")
    files = {sha256: Path(path.text()) for sha256, path in root.member("files").members().items()}
    result = run_task(task_from_json(root.member("task")), files)
    file.write(json.dumps(result.to_json()).encode("ascii"))
    file.flush()


def main() -> None:
    """Serve on stdin and stdout; see the module's docstring."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    with suppress(ImportError):  # the embedded machine says what is missing
        importlib.import_module("unicorn")  # else each child would have to
    with answers:
        serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
