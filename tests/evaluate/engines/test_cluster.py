# SPDX-License-Identifier: GPL-2.0-or-later
"""Tasks on a real Dask cluster: a scheduler and workers run beside the test, and some of them are killed."""

from __future__ import annotations

import hashlib
import re
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from distributed import Client, Scheduler

from pvefi.errors import MachineError, UsageError
from pvefi.evaluate.engines.cluster import ClusterEngine
from pvefi.evaluate.engines.engine import Finished, Happening, Lost, Notice, Started
from pvefi.evaluate.task import FileRef, Problem, Task, TaskKind, TaskResult
from tests.build.pe import PeSection, build_pe
from tests.evaluate.engines.dask_processes import Cluster, cluster_in

RETURN = bytes.fromhex("31c0 c3")  # xor %eax, %eax; ret: EFI_SUCCESS
HANG = bytes.fromhex("ebfe")  # jmp to itself
SHORT, LONG = 3.0, 120.0  # seconds after which a boot ends


class Programs:
    """EFI programs in a folder, by what they do; tasks that run them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.paths: dict[str, Path] = {}

    def task(self, code: bytes, number: int, timeout: float = LONG) -> Task:
        data = build_pe([PeSection(data=code.ljust(0x200, b"\0"))])
        sha256 = hashlib.sha256(data).hexdigest()
        name = {RETURN: "return.efi", HANG: "hang.efi"}[code]
        self.paths[sha256] = self._folder / name
        self.paths[sha256].write_bytes(data)
        image = FileRef(name, sha256, len(data))
        return Task(image, "efi", "embedded", TaskKind.HANDOFF, repetition=number, timeout=timeout)

    def returning(self, count: int) -> list[Task]:
        return [self.task(RETURN, number) for number in range(count)]


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    return Programs(tmp_path)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Give a cluster of three workers, of which a test must leave as many."""
    with cluster_in(tmp_path_factory.mktemp("cluster")) as started:
        started.start_workers(3)
        yield started


def run(address: str, tasks: list[Task], programs: Programs) -> list[Happening]:
    return list(ClusterEngine(address).run(tasks, programs.paths))


def results_of(happenings: list[Happening]) -> list[TaskResult]:
    return [one.result for one in happenings if isinstance(one, Finished)]


def kinds_of(happenings: list[Happening], task: Task) -> list[type[Happening]]:
    """Return what happened to a task."""
    found: list[type[Happening]] = []
    for one in happenings:
        match one:
            case Finished(result) if result.task == task:
                found.append(type(one))
            case Started(about) | Lost(about) if about == task:
                found.append(type(one))
    return found


def outcomes_of(happenings: list[Happening]) -> Counter[tuple[str, Problem, object]]:
    return Counter(
        (result.task.image.name, result.problem, outcome_of(result)) for result in results_of(happenings)
    )


def outcome_of(result: TaskResult) -> object:
    verdict = result.boot.get("verdict")
    return verdict["outcome"] if isinstance(verdict, dict) else None


def number_of_workers(cluster: Cluster) -> int:
    with Client(cluster.address, set_as_default=False) as client:
        return len(client.nthreads())


def number_of_tasks(dask_scheduler: Scheduler) -> int:
    return len(dask_scheduler.tasks)


def children_of(process: int) -> list[str]:
    found = Path("/proc").glob(f"{process}/task/*/children")
    return [child for children in found for child in children.read_text().split()]


def process_is_gone(process: int) -> bool:
    return not Path(f"/proc/{process}").exists()


def when_true(true: Callable[[], bool]) -> None:
    for _ in range(600):
        if true():
            return
        time.sleep(0.1)
    raise AssertionError("it has not come true within a minute")


def test_tasks_run_on_all_workers_and_each_worker_gets_a_file_once(
    cluster: Cluster, programs: Programs
) -> None:
    tasks = programs.returning(4)
    engine = ClusterEngine(cluster.address)
    happenings = list(engine.run(tasks, programs.paths))
    assert engine.jobs == 3
    for task in tasks:
        assert kinds_of(happenings, task) == [Started, Finished]
    assert outcomes_of(happenings) == {("return.efi", Problem.NONE, "exited"): 4}
    again = list(engine.run([*programs.returning(2), programs.task(HANG, 0, SHORT)], programs.paths))
    assert len(results_of(again)) == 3
    witnessed = [line.split(maxsplit=1) for line in cluster.witnessed()]
    files = Counter((process, what) for process, what in witnessed if what.startswith("file"))
    assert len(files) == 6  # two files on three workers
    assert set(files.values()) == {1}
    assert sum(what == "boot" for _, what in witnessed) == 7
    assert len({process for process, what in witnessed if what == "boot"}) == 3


def test_a_file_that_a_worker_has_let_go_of_is_sent_again(cluster: Cluster, programs: Programs) -> None:
    happenings: list[Happening] = []
    for one in ClusterEngine(cluster.address).run(programs.returning(12), programs.paths):
        if isinstance(one, Finished) and not results_of(happenings):
            cluster.let_go_of_files()
        happenings.append(one)
    assert outcomes_of(happenings) == {("return.efi", Problem.NONE, "exited"): 12}
    assert all(result.host for result in results_of(happenings))


def test_a_killed_worker_costs_the_task_that_ran_on_it_and_nothing_else(
    cluster: Cluster, programs: Programs
) -> None:
    cluster.witnessed()
    hang = programs.task(HANG, 0, SHORT)
    tasks = [*programs.returning(2), hang, *programs.returning(5)[2:]]
    happenings: list[Happening] = []
    killed = 0
    for one in ClusterEngine(cluster.address).run(tasks, programs.paths):
        happenings.append(one)
        if isinstance(one, Started) and one.task == hang and not killed:
            killed = cluster.process_of(one.worker)
            cluster.kill(killed)
    assert kinds_of(happenings, hang) == [Started, Lost, Started, Finished]
    for task in tasks:
        assert task == hang or kinds_of(happenings, task) == [Started, Finished]
    ends = {("return.efi", Problem.NONE, "exited"): 5, ("hang.efi", Problem.NONE, "timed out"): 1}
    assert outcomes_of(happenings) == ends
    boots = [line for line in cluster.witnessed() if line.endswith(" boot")]
    assert len(boots) == len(tasks) + 1
    assert process_is_gone(killed)
    cluster.start_workers(1)


def test_a_task_whose_workers_die_one_after_the_other_is_a_result(tmp_path: Path, programs: Programs) -> None:
    with cluster_in(tmp_path, allowed_failures=1) as cluster:
        cluster.start_workers(3)
        hang, happenings = programs.task(HANG, 0), []
        tasks = [hang, *programs.returning(2)]
        for one in ClusterEngine(cluster.address).run(tasks, programs.paths):
            happenings.append(one)
            if isinstance(one, Started) and one.task == hang:
                cluster.kill(cluster.process_of(one.worker))
    assert outcomes_of(happenings) == {
        ("return.efi", Problem.NONE, "exited"): 2,
        ("hang.efi", Problem.CRASHED, None): 1,
    }
    [why] = [result.why for result in results_of(happenings) if result.why]
    assert why.startswith("the worker that ran it died, 2 times in a row; the last was tcp://127.0.0.1:")


def test_workers_that_come_later_are_waited_for(tmp_path: Path, programs: Programs) -> None:
    with cluster_in(tmp_path) as cluster:
        happenings: list[Happening] = []
        for one in ClusterEngine(cluster.address).run(programs.returning(2), programs.paths):
            happenings.append(one)
            if isinstance(one, Notice):
                cluster.start_workers(1)
    assert isinstance(happenings[0], Notice)
    assert "has no workers: waiting for them" in happenings[0].text
    assert outcomes_of(happenings) == {("return.efi", Problem.NONE, "exited"): 2}


def test_all_workers_may_go_and_others_come(tmp_path: Path, programs: Programs) -> None:
    with cluster_in(tmp_path) as cluster:
        cluster.start_workers(1)
        hang, happenings = programs.task(HANG, 0, SHORT), []
        for one in ClusterEngine(cluster.address).run([hang, *programs.returning(1)], programs.paths):
            happenings.append(one)
            if isinstance(one, Started) and kinds_of(happenings, hang) == [Started]:
                cluster.kill(cluster.process_of(one.worker))
                cluster.start_workers(1)
    assert kinds_of(happenings, hang) == [Started, Lost, Started, Finished]
    assert {result.problem for result in results_of(happenings)} == {Problem.NONE}


def test_a_worker_without_pvefi_is_named_and_not_used(tmp_path: Path, programs: Programs) -> None:
    with cluster_in(tmp_path) as cluster:
        cluster.start_workers(1, pvefi=False)
        with pytest.raises(MachineError) as refused:
            run(cluster.address, programs.returning(2), programs)
        assert "none of its 1 workers can be used; the worker tcp://127.0.0.1:" in str(refused.value)
        assert "expected pvefi " in str(refused.value)
        assert "\n" not in str(refused.value)
        cluster.start_workers(1)
        when_true(lambda: number_of_workers(cluster) == 2)
        happenings = run(cluster.address, programs.returning(3), programs)
    [notice] = [one.text for one in happenings if isinstance(one, Notice)]
    assert notice.startswith("not used: the worker tcp://127.0.0.1:")
    assert outcomes_of(happenings) == {("return.efi", Problem.NONE, "exited"): 3}


def test_a_scheduler_that_dies_is_one_line_and_nothing_that_came_is_lost(
    tmp_path: Path, programs: Programs
) -> None:
    happenings: list[Happening] = []
    with cluster_in(tmp_path) as cluster:
        cluster.start_workers(1)

        def until_it_dies() -> None:
            for one in ClusterEngine(cluster.address).run(programs.returning(5), programs.paths):
                happenings.append(one)
                if isinstance(one, Finished):
                    cluster.kill(cluster.scheduler.pid)

        with pytest.raises(MachineError) as gone:
            until_it_dies()
    came = len(results_of(happenings))
    assert came >= 1
    assert f"the scheduler is gone, {5 - came} of 5 boots were not done yet: " in str(gone.value)
    assert str(gone.value).endswith("(--resume goes on with them)")


def test_whoever_stops_waiting_takes_back_what_is_queued_and_ends_what_runs(
    cluster: Cluster, programs: Programs
) -> None:
    cluster.witnessed()
    tasks = [programs.task(HANG, number) for number in range(6)]
    with closing(ClusterEngine(cluster.address).run(tasks, programs.paths)) as happenings:
        place = next(one.worker for one in happenings if isinstance(one, Started))
        worker = cluster.process_of(place)
        when_true(lambda: bool(children_of(worker)))
    when_true(lambda: not children_of(worker))
    with Client(cluster.address, set_as_default=False) as client:
        assert client.run_on_scheduler(number_of_tasks) == 0
    assert len(cluster.witnessed()) <= 3 + 3  # three boots at most, and the file on each worker


def test_a_file_that_changed_meanwhile_is_a_result_and_the_rest_goes_on(
    cluster: Cluster, programs: Programs
) -> None:
    changed = programs.task(RETURN, 0)
    path = programs.paths.pop(changed.image.sha256)
    unlike = replace(changed, image=replace(changed.image, sha256="0" * 64, name="changed.efi"))
    programs.paths["0" * 64] = path
    gone = replace(changed, image=replace(changed.image, sha256="1" * 64, name="gone.efi"))
    programs.paths["1" * 64] = path.with_name("gone.efi")
    happenings = run(cluster.address, [unlike, gone, *programs.returning(1)], programs)
    assert {(one.task.image.name, one.problem, one.why) for one in results_of(happenings)} == {
        ("changed.efi", Problem.INPUT, "changed.efi: its contents changed after the evaluation began"),
        ("gone.efi", Problem.INPUT, "gone.efi: it cannot be read any more: No such file or directory"),
        ("return.efi", Problem.NONE, ""),
    }


def test_where_nobody_listens_it_is_said_at_once(programs: Programs) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        with pytest.raises(MachineError) as refused:
            run(f"127.0.0.1:{bound.getsockname()[1]}", programs.returning(1), programs)
    assert "expected a Dask scheduler, found nobody: Connection refused" in str(refused.value)


def test_what_speaks_another_protocol_is_no_scheduler(programs: Programs) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(MachineError) as refused:
        run(f"tcp://127.0.0.1:{server.getsockname()[1]}", programs.returning(1), programs)
    assert "found something that does not speak its protocol" in str(refused.value)


@pytest.mark.parametrize(
    "address", ["host", "host:x", "http://host:80", "tcp://:1", "tcp://[::1", "", "a\x1b:"]
)
def test_what_is_no_address_is_told_before_anything_runs(address: str) -> None:
    with pytest.raises(UsageError, match="expected the address of a scheduler, tcp://HOST:PORT") as refused:
        ClusterEngine(address)
    assert str(refused.value).isprintable()


def test_without_dask_the_way_out_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MachineError, match=re.escape("(pip install 'pvefi[cluster]')")):
        ClusterEngine("tcp://127.0.0.1:8786")
