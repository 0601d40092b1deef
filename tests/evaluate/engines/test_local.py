# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from pvefi.evaluate.engines.engine import Finished, Happening, Started
from pvefi.evaluate.engines.local import LocalEngine
from pvefi.evaluate.isolated import Isolated
from pvefi.evaluate.task import Problem, Task
from tests.evaluate.made import LOOP, program, returning, task_of
from tests.leftovers import MARK, assert_all_gone, marked_processes


def tasks_of(path: Path, many: int) -> list[Task]:
    return [task_of(path, repetition=number) for number in range(many)]


def test_every_task_starts_once_in_order_and_ends_once(tmp_path: Path) -> None:
    path = program(tmp_path, returning(0))
    tasks = tasks_of(path, 5)
    happenings = list(LocalEngine(2).run(tasks, {tasks[0].image.sha256: path}))
    assert [one.task for one in happenings if isinstance(one, Started)] == tasks
    finished = [one.result for one in happenings if isinstance(one, Finished)]
    assert sorted(result.task.id for result in finished) == sorted(task.id for task in tasks)
    assert {result.problem for result in finished} == {Problem.NONE}
    for task in tasks:
        at = [number for number, one in enumerate(happenings) if task_in(one) == task]
        assert len(at) == 2


def task_in(happening: Happening) -> Task | None:
    match happening:
        case Started(task=task):
            return task
        case Finished(result=result):
            return result.task
    return None


def test_no_more_than_so_many_run_at_once(tmp_path: Path) -> None:
    path = program(tmp_path, LOOP)
    tasks = [replace(task, timeout=0.3) for task in tasks_of(path, 4)]
    running, most = 0, 0
    for happening in LocalEngine(2).run(tasks, {tasks[0].image.sha256: path}):
        running += 1 if isinstance(happening, Started) else -1
        most = max(most, running)
    assert most == 2


def test_no_task_is_no_work() -> None:
    assert list(LocalEngine(2).run([], {})) == []


def test_closing_ends_all_that_runs_and_starts_nothing_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MARK, str(tmp_path))
    path = program(tmp_path, LOOP)
    tasks = [replace(task, timeout=600.0) for task in tasks_of(path, 4)]
    before = threading.active_count()
    happenings = LocalEngine(2).run(tasks, {tasks[0].image.sha256: path})
    started = [next(happenings), next(happenings)]
    assert [one.task for one in started if isinstance(one, Started)] == tasks[:2]
    end = time.monotonic() + 60
    while len(marked_processes(str(tmp_path))) < 4:  # two workers, and a boot of each
        assert time.monotonic() < end
        time.sleep(0.02)
    happenings.close()
    assert_all_gone(str(tmp_path))
    assert threading.active_count() == before


def test_an_error_of_the_host_is_raised_where_somebody_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(Isolated, "run", refuse)
    path = program(tmp_path, returning(0))
    with pytest.raises(OSError, match="Too many open files"):
        list(LocalEngine(2).run(tasks_of(path, 3), {}))
