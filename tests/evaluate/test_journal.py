# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

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


@pytest.fixture
def small_files() -> Iterator[None]:
    """Let no file grow beyond 100 bytes: the kernel then says EFBIG, as a full disk says ENOSPC."""
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


def test_a_full_disk_is_told_once_and_leaves_no_half_file(tmp_path: Path, small_files: None) -> None:
    journal = Journal(tmp_path, resume=False, notice=(notices := Notices()))
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
