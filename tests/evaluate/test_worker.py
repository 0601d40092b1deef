# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import json
import platform
from pathlib import Path

import pytest

from pvefi.evaluate.outcome import Ending, ending, words
from pvefi.evaluate.task import BootHost, FileRef, Problem, TaskKind, result_from_json
from pvefi.evaluate.worker import run_task
from pvefi.machines.survey import survey_host
from pvefi.probe.witness import KERNEL_LOG
from pvefi.report.json_node import Node
from tests.conftest import RealFiles, Tool
from tests.evaluate.made import FAULT, file_of, program, returning, task_of


def test_a_real_kernel_is_taken_to_its_hand_off_and_counted(corpus: RealFiles) -> None:
    kernel = corpus.kernel("cloud")
    task = task_of(kernel, "pvh")
    result = run_task(task, {task.image.sha256: kernel})
    assert (result.problem, result.why) == (Problem.NONE, "")
    boot = Node(dict(result.boot), "boot")
    assert boot.member("verdict").member("outcome").text() == "hand-off"
    assert boot.member("instructions").number() > 1000
    assert boot.member("image").member("path").text() == kernel.name
    assert result.peak_memory > 1 << 20
    again = result_from_json(Node(json.loads(json.dumps(result.to_json())), "result"))
    assert again == result


@pytest.mark.parametrize("way", ["pvh", pytest.param("qemu-linux", marks=pytest.mark.full)])
def test_a_real_kernel_says_what_it_was_given(corpus: RealFiles, tool: Tool, way: str) -> None:
    tool("qemu-system-x86_64")
    kernel = corpus.kernel("cloud")
    task = task_of(kernel, way, machine="qemu", kind=TaskKind.FACTS, command_line="loglevel=7", timeout=300.0)
    result = run_task(task, {task.image.sha256: kernel})
    assert ending(result) is Ending.REACHED, words(result)
    assert result.counter is not None
    assert len(result.files["/sys/kernel/boot_params/data"]) == 4096
    assert result.files["/proc/cmdline"] == b"loglevel=7 console=ttyS0 quiet panic=-1\n"
    assert b"Linux version" in result.files[KERNEL_LOG]
    assert result.boot["initrd"] == "pvefi's own first process"


@pytest.mark.full
def test_what_is_counted_is_the_same_each_time(corpus: RealFiles, tool: Tool) -> None:
    tool("qemu-system-x86_64")
    kernel = corpus.kernel("cloud")
    task = task_of(kernel, "qemu-pvh", machine="qemu", kind=TaskKind.COUNT, timeout=600.0)
    counters = {run_task(task, {task.image.sha256: kernel}).counter for _ in range(2)}
    assert len(counters) == 1
    assert counters != {None}


def test_without_a_first_process_asked_for_a_hand_off_has_no_initrd(
    corpus: RealFiles,
) -> None:
    kernel = corpus.kernel("cloud")
    task = task_of(kernel, "pvh")
    result = run_task(task, {task.image.sha256: kernel})
    assert (result.boot["initrd"], result.files, result.counter) == (None, {}, None)


def test_the_second_repetition_on_the_embedded_machine_is_not_counted(tmp_path: Path) -> None:
    path = program(tmp_path, returning(0))
    task = task_of(path, repetition=1)
    assert run_task(task, {task.image.sha256: path}).boot["instructions"] is None


def test_a_result_tells_the_host_that_it_ran_on_and_travels_with_it(tmp_path: Path) -> None:
    path = program(tmp_path, returning(0))
    task = task_of(path)
    result = run_task(task, {task.image.sha256: path})
    here = survey_host()
    assert result.host == BootHost(platform.node(), here.processor, here.cores)
    assert result_from_json(Node(result.to_json(), "a result")) == result


def test_the_calls_are_lines_of_a_trace(tmp_path: Path) -> None:
    path = program(tmp_path, "488b4260 4883ec28 ff5018 4883c428 31c0c3")  # BootServices->RaiseTPL, return 0
    task = task_of(path)
    result = run_task(task, {task.image.sha256: path})
    assert [call["service"] for call in result.calls] == ["RaiseTPL"]


def test_a_fault_of_the_guest_is_a_result(tmp_path: Path) -> None:
    path = program(tmp_path, FAULT)
    task = task_of(path)
    result = run_task(task, {task.image.sha256: path})
    assert result.problem is Problem.NONE
    assert Node(dict(result.boot), "boot").member("verdict").member("outcome").text() == "faulted"


def test_an_image_that_changed_since_is_not_booted(tmp_path: Path) -> None:
    path = program(tmp_path, returning(0))
    task = task_of(path)
    program(tmp_path, returning(1))
    result = run_task(task, {task.image.sha256: path})
    assert (result.problem, result.boot) == (Problem.INPUT, {})
    assert result.why == "program.efi: changed since the evaluation began (run the command again)"


def test_an_initrd_that_changed_since_is_not_booted(corpus: RealFiles, tmp_path: Path) -> None:
    kernel, initrd = corpus.kernel("cloud"), tmp_path / "initrd"
    initrd.write_bytes(b"one")
    task = task_of(kernel, "pvh", initrd=file_of(initrd))
    initrd.write_bytes(b"two")
    result = run_task(task, {task.image.sha256: kernel, file_of(initrd).sha256: initrd})
    assert result.problem is Problem.INPUT
    result = run_task(task, {task.image.sha256: kernel, task.initrd.sha256: initrd})  # type: ignore[union-attr]
    assert (result.problem, result.why) == (
        Problem.INPUT,
        "initrd: changed since the evaluation began (run the command again)",
    )


def test_the_users_initrd_is_what_the_kernel_is_given(corpus: RealFiles, tmp_path: Path) -> None:
    kernel, initrd = corpus.kernel("cloud"), tmp_path / "initrd"
    initrd.write_bytes(b"not much")
    task = task_of(kernel, "pvh", initrd=file_of(initrd))
    result = run_task(task, {task.image.sha256: kernel, file_of(initrd).sha256: initrd})
    assert result.boot["initrd"] == "initrd"
    given = Node(dict(result.boot), "boot").member("handoff").member("initrd")
    assert given.member("sha256").text() == file_of(initrd).sha256


def test_a_file_that_is_not_here_is_told(tmp_path: Path) -> None:
    task = task_of(program(tmp_path, returning(0)))
    result = run_task(task, {})
    assert result.problem is Problem.INPUT
    assert result.why == f"program.efi: expected a file of SHA-256 {task.image.sha256}, found none here"


def test_an_entry_that_the_image_has_not_is_input(tmp_path: Path) -> None:
    path = program(tmp_path, returning(0))
    task = task_of(path, "linux64")
    result = run_task(task, {task.image.sha256: path})
    assert result.problem is Problem.INPUT
    assert "expected an image with the 64-bit entry linux64" in result.why


def test_a_machine_that_is_not_here_is_told(tmp_path: Path) -> None:
    path = program(tmp_path, returning(0))
    task = task_of(path, machine="qemu", machine_options={"program": f"{tmp_path}/none"})
    result = run_task(task, {task.image.sha256: path})
    assert (result.problem, result.boot) == (Problem.MACHINE, {})
    assert f"{tmp_path}/none: there is no such file" in result.why


def test_a_machine_type_that_qemu_has_not_is_input(tmp_path: Path) -> None:
    path = program(tmp_path, returning(0))
    task = task_of(path, machine="qemu", machine_options={"machine_type": "pdp11"})
    result = run_task(task, {task.image.sha256: path})
    assert result.problem is Problem.INPUT
    assert "expected one of QEMU's machine types q35, pc, microvm, found 'pdp11'" in result.why


def test_faults_are_injected(tmp_path: Path) -> None:
    path = program(tmp_path, returning(0))
    task = task_of(path, faults=("NoSuchService=EFI_DEVICE_ERROR",))
    result = run_task(task, {task.image.sha256: path})
    assert result.problem is Problem.INPUT
    assert "NoSuchService" in result.why


def test_no_file_is_named_by_where_it_happens_to_be(tmp_path: Path) -> None:
    path = program(tmp_path, returning(0))
    task = task_of(path, image=FileRef("known as this.efi", file_of(path).sha256, path.stat().st_size))
    result = run_task(task, {task.image.sha256: path})
    assert str(tmp_path) not in json.dumps(result.to_json())
