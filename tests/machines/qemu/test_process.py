# SPDX-License-Identifier: GPL-2.0-or-later
"""A child that shares descriptors with pvefi, ends with it, and tells how it ended."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pvefi.errors import MachineError, UsageError
from pvefi.machines.qemu.command import Descriptors
from pvefi.machines.qemu.process import QemuProcess, Shared, start_process

SIZE = 1 << 20


@contextmanager
def running(
    script: str, kernel: bytes = b"", *, outlives: bool = False
) -> Iterator[tuple[QemuProcess, Shared]]:
    def command(given: Descriptors) -> list[str]:
        numbers = f"ram={given.ram} kernel={given.kernel} console={given.console} log={given.log}"
        return ["/bin/bash", "-c", f"{numbers}; {script}"]

    process, shared = start_process(SIZE, kernel, b"", command, outlives=outlives)
    try:
        yield process, shared
    finally:
        process.close()
        shared.close()


def ended(process: QemuProcess) -> str | None:
    assert process.wait(10)
    return process.ended()


def test_memory_and_files_are_shared() -> None:
    with running("cat /proc/self/fd/$kernel > /proc/self/fd/$ram", b"the kernel") as (process, shared):
        assert ended(process) == ""
        assert bytes(shared.ram[:10]) == b"the kernel"


def test_what_the_child_writes_to_its_console_is_read_and_its_end_seen() -> None:
    with running("echo hello >&$console") as (process, shared):
        assert ended(process) == ""
        assert shared.console.recv(100) == b"hello\n"
        assert shared.console.recv(100) == b""


def test_the_end_is_told_in_words_with_the_last_line_of_the_childs() -> None:
    with running("echo first >&2; echo qemu-system-x86_64: the reason >&2; exit 3") as (process, _):
        assert ended(process) == "QEMU ended with status 3: the reason"
        assert process.complaint() == "the reason"
    with running("kill -KILL $$") as (process, _):
        assert ended(process) == "QEMU was ended by SIGKILL"
        assert process.last_words() == "QEMU was ended by SIGKILL"
    with running("true") as (process, _):
        assert ended(process) == ""
        assert process.last_words() == "QEMU ended without having run a guest"


def test_a_running_child_has_not_ended() -> None:
    with running("sleep 60") as (process, _):
        assert process.running
        assert process.ended() is None
        assert not process.wait(0.01)


def test_closing_ends_a_child_and_one_that_does_not_listen_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pvefi.machines.qemu.process._PATIENCE", 0.2)
    for script in ("sleep 60", "trap '' TERM; echo >&$console; while :; do sleep 60; done"):
        with running(script) as (process, shared):
            if "trap" in script:
                shared.console.recv(1)
            number = process.pid
        with pytest.raises(ProcessLookupError):
            os.kill(number, 0)


def test_a_child_that_is_left_lives_on() -> None:
    def command(_given: Descriptors) -> list[str]:
        return ["/bin/sleep", "60"]

    process, shared = start_process(SIZE, b"", b"", command, outlives=True)
    number = process.pid
    process.leave()
    shared.close()
    os.kill(number, 0)
    os.kill(number, signal.SIGKILL)
    os.waitpid(number, 0)


def test_a_child_dies_with_its_parent() -> None:
    reading, writing = os.pipe()
    parent = os.fork()
    if not parent:
        try:
            process, _ = start_process(SIZE, b"", b"", lambda _given: ["/bin/sleep", "60"])
            os.write(writing, str(process.pid).encode())
        finally:
            os._exit(0)
    os.waitpid(parent, 0)
    child = int(os.read(reading, 20))
    os.close(reading)
    os.close(writing)
    for _ in range(200):
        try:
            state = open(f"/proc/{child}/stat").read().rpartition(")")[2].split()[0]  # noqa: PTH123, SIM115
        except OSError:
            return
        if state == "Z":  # whoever inherited it has not looked yet
            return
        time.sleep(0.02)
    pytest.fail("the child lives on")


def test_what_the_host_cannot_give_is_refused() -> None:
    with pytest.raises(UsageError, match="at most the host's"):
        start_process(1 << 50, b"", b"", lambda _given: ["/bin/true"])
    with pytest.raises(MachineError, match="/nonexistent/qemu cannot be run: No such file"):
        start_process(SIZE, b"", b"", lambda _given: ["/nonexistent/qemu"])


@pytest.mark.parametrize("blocking", [False, True])
def test_a_start_that_fails_leaves_nothing_open(blocking: bool) -> None:
    def command(_given: Descriptors) -> list[str]:
        raise UsageError("no")

    before = os.listdir("/proc/self/fd")  # noqa: PTH208
    with pytest.raises(UsageError):
        start_process(SIZE, b"", b"", command, blocking=blocking, debugger=True)
    with pytest.raises(MachineError):
        start_process(SIZE, b"", b"", lambda _given: ["/nonexistent/qemu"], blocking=blocking)
    assert os.listdir("/proc/self/fd") == before  # noqa: PTH208
    with open("/proc/self/maps") as maps:  # noqa: PTH123
        assert "pvefi-ram" not in maps.read()
