# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from pvefi.evaluate.isolated import Isolated, run_isolated
from pvefi.evaluate.task import Problem
from tests.conftest import Tool
from tests.evaluate.made import LOOP, program, returning, task_of
from tests.leftovers import MARK, assert_all_gone, marked_processes, qemu_of


@pytest.fixture
def mark(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """Mark every process that the test starts."""
    monkeypatch.setenv(MARK, str(tmp_path))
    return str(tmp_path)


def doing(code: str) -> tuple[str, ...]:
    """Return a worker that reads one order and then runs `code`."""
    return (sys.executable, "-c", f"import os, subprocess, sys, time\nsys.stdin.readline()\n{code}")


def test_a_task_runs_in_a_process_of_its_own_and_comes_back_as_a_value(tmp_path: Path, mark: str) -> None:
    path = program(tmp_path, returning(0))
    task = task_of(path)
    result = run_isolated(task, {task.image.sha256: path})
    assert (result.task, result.problem, result.why) == (task, Problem.NONE, "")
    assert result.boot["verdict"] == {
        "outcome": "exited",
        "message": "program.efi ended with EFI_SUCCESS",
        "status": {"value": 0, "name": "EFI_SUCCESS"},
    }
    assert not result.worker.endswith(f" {os.getpid()}")
    assert_all_gone(mark)


def test_one_worker_runs_several_tasks_each_in_another_process(tmp_path: Path) -> None:
    paths = [program(tmp_path, returning(status), f"{status}.efi") for status in (0, 1)]
    with Isolated() as worker:
        results = [worker.run(task, {task.image.sha256: path}) for path in paths for task in (task_of(path),)]
    assert len({result.worker for result in results}) == 2
    assert [result.boot["verdict"]["status"]["value"] for result in results] == [0, 1]  # type: ignore[call-overload,index]


def test_a_process_that_crashes_is_told_with_its_last_words(tmp_path: Path) -> None:
    path = program(tmp_path, returning(0))
    code = (
        "print('first', file=sys.stderr)\nprint('the \\x1b[2J end', file=sys.stderr, flush=True)\nos.abort()"
    )
    with Isolated(program=doing(code)) as worker:
        result = worker.run(task_of(path), {})
    assert result.problem is Problem.CRASHED
    assert result.why == "the process that ran it was ended by SIGABRT; it said last: the \\x1b[2J end"


def test_a_worker_that_cannot_be_run_says_why_itself(tmp_path: Path) -> None:
    path = program(tmp_path, returning(0))
    slow_end = "os.close(1)\ntime.sleep(0.3)\nraise SystemExit('no module named this')"
    with Isolated(program=doing(slow_end)) as worker:
        result = worker.run(task_of(path), {})
    assert result.why == "the process that ran it ended with status 1; it said last: no module named this"


def test_without_the_emulator_other_machines_run_all_the_same(
    tmp_path: Path, tool: Tool, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool("qemu-system-x86_64")
    (tmp_path / "unicorn.py").write_text("raise ImportError('no unicorn here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    path = program(tmp_path, returning(0))
    with Isolated() as worker:
        task = task_of(path, machine="qemu")
        assert worker.run(task, {task.image.sha256: path}).problem is Problem.NONE
        task = task_of(path)
        result = worker.run(task, {task.image.sha256: path})
    assert result.problem is Problem.MACHINE
    assert "expects the unicorn CPU emulator, found none" in result.why


def test_after_a_crash_the_next_task_has_another_worker(tmp_path: Path) -> None:
    path = program(tmp_path, returning(0))
    task = task_of(path)
    with Isolated(program=doing("sys.exit(3)")) as worker:
        whys = [worker.run(task, {}).why for _ in range(2)]
    assert whys == ["the process that ran it ended with status 3"] * 2


def test_a_process_that_hangs_is_ended_with_all_that_it_has_started(tmp_path: Path, mark: str) -> None:
    path = program(tmp_path, returning(0))
    code = "subprocess.Popen(['sleep', '600'], start_new_session=True)\ntime.sleep(600)"
    with Isolated(grace=0.5, program=doing(code)) as worker:
        result = worker.run(task_of(path, timeout=0.5), {})
    assert result.problem is Problem.STUCK
    assert result.why == "it was ended 0.5 seconds after its time-out of 0.5 seconds"
    assert_all_gone(mark)


def test_a_guest_that_hangs_ends_by_its_own_time_out(tmp_path: Path) -> None:
    path = program(tmp_path, LOOP)
    task = task_of(path, timeout=0.2)
    result = run_isolated(task, {task.image.sha256: path})
    assert result.problem is Problem.NONE
    assert result.boot["verdict"]["outcome"] == "timed out"  # type: ignore[call-overload,index]


@pytest.mark.parametrize("how", ["asked to end", "killed"])
def test_no_qemu_is_left_when_a_task_is_ended_from_outside(
    tmp_path: Path, mark: str, tool: Tool, how: str
) -> None:
    tool("qemu-system-x86_64")
    path = program(tmp_path, LOOP)
    task = task_of(path, machine="qemu", timeout=600.0)
    with Isolated() as worker:
        thread = threading.Thread(target=worker.run, args=(task, {task.image.sha256: path}))
        thread.start()
        end = time.monotonic() + 60
        while (qemu := qemu_of(mark)) is None:
            assert time.monotonic() < end
            time.sleep(0.02)
        others = [process for process in marked_processes(mark) if process != qemu]
        if how == "asked to end":
            worker.end()
        else:
            for process in others:
                os.kill(process, signal.SIGKILL)
        thread.join(60)
        assert not thread.is_alive()
        assert_all_gone(mark, within=10.0)
