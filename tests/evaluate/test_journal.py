# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import json
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pvefi import __version__
from pvefi.errors import UsageError
from pvefi.evaluate.journal import Journal
from pvefi.evaluate.task import Problem, Task, TaskKind
from tests.evaluate.made import facts, task_result


def task(name: str = "vmlinuz", **fields: int) -> Task:
    return Task(facts(name).file, "efi", "embedded", TaskKind.HANDOFF, **fields)  # type: ignore[arg-type]


class Notices(list[str]):
    """What was told."""

    def __call__(self, text: str) -> None:
        self.append(text)


@contextmanager
def small_files() -> Iterator[None]:
    """Let no file grow beyond 100 bytes: the kernel then says EFBIG, as a full disk says ENOSPC.

    That holds for what pytest writes, too: it is for a few lines of a test, never for a fixture.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_result_that_was_kept_is_found_again(tmp_path: Path) -> None:
    kept = task_result(task())
    Journal(tmp_path, resume=False, notice=Notices()).keep(kept)
    found = Journal(tmp_path, resume=True, notice=Notices()).results([task(), task(repetition=1)])
    assert found == {task().id: kept}


def test_a_directory_with_results_is_refused_unless_resumed(tmp_path: Path) -> None:
    Journal(tmp_path, resume=False, notice=Notices()).keep(task_result(task()))
    with pytest.raises(UsageError, match=r"expected a directory without results, found results/.*--resume"):
        Journal(tmp_path, resume=False, notice=Notices())


def test_a_directory_with_other_things_is_taken(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("of somebody else")
    assert Journal(tmp_path, resume=False, notice=Notices()).results([task()]) == {}


def test_a_boot_of_other_files_or_options_is_not_found(tmp_path: Path) -> None:
    journal = Journal(tmp_path, resume=False, notice=Notices())
    journal.keep(task_result(task()))
    assert journal.results([task("other"), task(memory_size=1 << 30), task(seed=1)]) == {}


def test_another_time_out_is_the_same_boot(tmp_path: Path) -> None:
    journal = Journal(tmp_path, resume=False, notice=Notices())
    journal.keep(task_result(task()))
    assert len(journal.results([task(timeout=5)])) == 1


@pytest.mark.parametrize("problem", [problem for problem in Problem if problem is not Problem.NONE])
def test_a_boot_that_could_not_be_made_is_tried_again(tmp_path: Path, problem: Problem) -> None:
    journal = Journal(tmp_path, resume=False, notice=Notices())
    journal.keep(task_result(task(), problem=problem))
    assert journal.results([task()]) == {}


@pytest.mark.parametrize("keep", [0, 1, 200, -1])
def test_a_torn_file_is_told_and_its_boot_runs_again(tmp_path: Path, keep: int) -> None:
    journal = Journal(tmp_path, resume=False, notice=(notices := Notices()))
    journal.keep(task_result(task()))
    (path,) = (tmp_path / "results").iterdir()
    path.write_bytes(path.read_bytes()[:keep])
    assert journal.results([task()]) == {}
    (notice,) = notices
    assert str(path) in notice
    assert notice.endswith(": this boot runs again")


def test_a_result_under_the_name_of_another_is_not_believed(tmp_path: Path) -> None:
    journal = Journal(tmp_path, resume=False, notice=Notices())
    journal.keep(task_result(task()))
    (path,) = (tmp_path / "results").iterdir()
    path.rename(path.with_stem(task("other").id))
    assert journal.results([task("other")]) == {}


def test_a_full_disk_is_told_once_and_leaves_no_half_file(tmp_path: Path) -> None:
    journal = Journal(tmp_path, resume=False, notice=(notices := Notices()))
    with small_files():
        for repetition in range(3):
            journal.keep(task_result(task(repetition=repetition)))
    assert journal.broken
    assert notices == [
        f"{tmp_path}/results: cannot keep results: File too large: --resume will run boots again"
    ]
    assert list((tmp_path / "results").iterdir()) == []


def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot keep results here: Not a directory"):
        Journal(tmp_path / "file", resume=False, notice=Notices())


def test_a_boot_that_ran_into_a_shorter_time_out_runs_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path, resume=False, notice=Notices())
    journal.keep(task_result(task(timeout=1), "timed out"))
    assert journal.results([task(timeout=300)]) == {}
    assert len(journal.results([task(timeout=1)])) == 1
    journal.keep(task_result(task(timeout=1)))
    assert len(journal.results([task(timeout=300)])) == 1


def test_a_result_of_another_version_is_told_and_runs_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path, resume=False, notice=(notices := Notices()))
    journal.keep(task_result(task(), pvefi="0.0.1"))
    journal.keep(task_result(task(repetition=1)))
    assert list(journal.results([task(), task(repetition=1)])) == [task(repetition=1).id]
    assert notices == [
        f"{tmp_path}/results: 1 results are of another version than pvefi {__version__}: "
        "these boots run again"
    ]


def test_a_link_among_the_results_is_neither_read_nor_written_through(tmp_path: Path) -> None:
    precious, journal = tmp_path / "precious", Journal(tmp_path, resume=False, notice=(notices := Notices()))
    precious.write_text(json.dumps(task_result(task()).to_json()))
    path = tmp_path / "results" / f"{task().id}.json"
    path.symlink_to(precious)
    before = precious.read_bytes()
    assert journal.results([task()]) == {}
    assert notices == [
        f"{path}: expected a result, found: Too many levels of symbolic links: this boot runs again"
    ]
    journal.keep(task_result(task(), console="new"))
    assert (precious.read_bytes(), path.is_symlink()) == (before, False)
    assert journal.results([task()])[task().id].console == "new"


def test_a_pipe_among_the_results_is_not_waited_for(tmp_path: Path) -> None:
    journal = Journal(tmp_path, resume=False, notice=(notices := Notices()))
    path = tmp_path / "results" / f"{task().id}.json"
    os.mkfifo(path)
    assert journal.results([task()]) == {}
    assert notices == [f"{path}: expected a result, found a pipe: this boot runs again"]
    journal.keep(task_result(task()))
    assert list(journal.results([task()])) == [task().id]


def test_results_that_are_a_link_to_another_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "results").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="expected a folder named results, found a symbolic link"):
        Journal(tmp_path, resume=True, notice=Notices())
