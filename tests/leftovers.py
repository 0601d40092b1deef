# SPDX-License-Identifier: GPL-2.0-or-later
"""What a boot may leave behind: nothing. Descriptors, threads, processes and files, before and after."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

MARK = "PVEFI_TEST_MARK"
"""An environment variable by whose value a test finds every process that comes from its own."""
WITHIN = 1.0
"""Seconds in which everything has to be gone."""


def marked_processes(mark: str) -> list[int]:
    """Return the processes, but for this one, that have the mark in their environment; no zombies."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with suppress(OSError):
                if f"{MARK}={mark}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return found


def qemu_of(mark: str) -> int | None:
    """Return the QEMU among the marked processes, once it has become one."""
    for process in marked_processes(mark):
        with suppress(OSError):
            if b"qemu" in Path(f"/proc/{process}/cmdline").read_bytes().partition(b"\0")[0]:
                return process
    return None


def assert_all_gone(mark: str, within: float = WITHIN) -> None:
    """Fail unless every marked process has ended within some seconds."""
    end = time.monotonic() + within
    while left := marked_processes(mark):
        assert time.monotonic() < end, f"still there after {within} s: {left}"
        time.sleep(0.01)


@dataclass(frozen=True)
class Held:
    """What this process holds, and what lies where other processes see it."""

    descriptors: frozenset[str]
    threads: int
    children: str
    shared_memory: frozenset[str]

    @classmethod
    def now(cls) -> Held:
        gc.collect()  # a mapping keeps its descriptor as long as anything refers to it
        descriptors = set()
        for entry in Path("/proc/self/fd").iterdir():
            with suppress(OSError):
                descriptors.add(f"{entry.name} {entry.readlink()}")
        return cls(
            frozenset(one for one in descriptors if "/proc/" not in one),
            len(list(Path("/proc/self/task").iterdir())),
            Path(f"/proc/self/task/{os.getpid()}/children").read_text(),
            frozenset(
                one.name for one in Path("/dev/shm").iterdir() if "pvefi" in one.name or "qemu" in one.name
            ),
        )


@contextmanager
def nothing_left() -> Iterator[None]:
    """Fail unless this process holds after the block what it held before."""
    before = Held.now()
    yield
    end = time.monotonic() + WITHIN
    while Held.now() != before and time.monotonic() < end:
        time.sleep(0.01)
    assert Held.now() == before
