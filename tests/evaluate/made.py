# SPDX-License-Identifier: GPL-2.0-or-later
"""What tests of evaluations are made of: small EFI programs, and values with the fields that matter."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from pvefi.evaluate.run import ImageFacts
from pvefi.evaluate.task import FileRef, Problem, Task, TaskKind, TaskResult
from tests.build.pe import PeSection, build_pe

__all__ = [
    "FAULT",
    "LOOP",
    "facts",
    "file_of",
    "program",
    "returning",
    "task_of",
    "task_result",
]

LOOP = "ebfe"  # jmp .
FAULT = "488b042500000000"  # mov 0, %rax

KERNEL_WAYS = ("efi", "linux64", "kexec", "pvh", "qemu-linux", "qemu-pvh", "ovmf", "xen-pvh", "xen-pv")


def returning(status: int) -> str:
    """Return the code of a program that ends with `status`."""
    return f"48b8{status.to_bytes(8, 'little').hex()}c3"  # movabs $status, %rax; ret


def program(folder: Path, code: str, name: str = "program.efi") -> Path:
    """Write an EFI program of this code and return its path."""
    path = folder / name
    path.write_bytes(build_pe(sections=[PeSection(data=bytes.fromhex(code).ljust(0x200, b"\0"))]))
    return path


def file_of(path: Path) -> FileRef:
    """Return how an evaluation names a file."""
    data = path.read_bytes()
    return FileRef(path.name, hashlib.sha256(data).hexdigest(), len(data))


def task_of(path: Path, entry: str = "efi", **fields: Any) -> Task:
    """Return the task that boots a file to its hand-off, or end, on the embedded machine."""
    made = Task(file_of(path), entry, "embedded", TaskKind.HANDOFF, seed=0, timeout=60.0)
    return replace(made, **fields)


def facts(name: str = "vmlinuz", **fields: Any) -> ImageFacts:
    """Return the facts of a kernel that can be booted by every way."""
    sha256 = hashlib.sha256(name.encode()).hexdigest()
    made = ImageFacts(
        file=FileRef(name, sha256, 1000),
        kind="Linux bzImage",
        release="6.1",
        entries=("efi", "linux16", "linux64", "pvh", "xen-pv"),
        is_kernel=True,
        ways=KERNEL_WAYS,
    )
    return replace(made, **fields)


def task_result(task: Task, outcome: str = "hand-off", **fields: Any) -> TaskResult:
    """Return the result of a task that ended with this outcome."""
    made = TaskResult(
        task=task,
        problem=Problem.NONE,
        why="",
        boot={
            "verdict": {"outcome": outcome, "message": "so it is", "status": None},
            "seconds": 1.5,
            "milestones": {},
        },
        calls=(),
        console="",
        files={},
        counter=None,
        peak_memory=1,
        worker="here 1",
    )
    return replace(made, **fields)
