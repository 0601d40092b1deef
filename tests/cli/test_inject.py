# SPDX-License-Identifier: GPL-2.0-or-later
"""`pvefi inject` as a program: what it prints, its exit statuses, and that its findings repeat."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from pvefi.cli.status import ExitStatus
from tests.build.bzimage import build_bzimage
from tests.conftest import RealFiles
from tests.docs.test_formats import unnamed
from tests.evaluate.test_branches import FRAIL
from tests.leftovers import MARK, assert_all_gone, marked_processes
from tests.test_boot import LOOP, program

PVEFI = (sys.executable, "-m", "pvefi")


def pvefi(*words: object, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PVEFI, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, **(environment or {})},
    )


def document(*words: object) -> dict[str, Any]:
    done = pvefi("inject", *words, "--json")
    assert done.stderr == ""
    read = json.loads(done.stdout)
    assert isinstance(read, dict)
    return read


@pytest.fixture(scope="module")
def frail(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("inject") / "it's frail.efi"
    path.write_bytes(FRAIL)
    return path


@pytest.fixture(scope="module")
def found(frail: Path) -> dict[str, Any]:
    return document(frail, "--timeout", "1", "--memory", "64M")


def test_the_page_names_every_field(found: dict[str, Any]) -> None:
    told = {*found, *found["without_faults"], *found["findings"][0], *found["services"][0], "injections"}
    assert not unnamed("inject.md", told)


OUT, INVALID, GONE = "=EFI_OUT_OF_RESOURCES", "=EFI_INVALID_PARAMETER", ":exhausted"


def test_every_fault_of_every_call_has_its_effect(found: dict[str, Any]) -> None:
    effects = {one["fault"]: one["effect"] for one in found["findings"]}
    wanted = {1: "fails cleanly", 2: "hangs", 3: "crashes", 4: "goes on"}
    assert effects == {
        f"AllocatePool#{call}{what}": effect
        for call, effect in wanted.items()
        for what in (OUT, INVALID, GONE)
    }
    assert found["effects"]["hangs"] == found["effects"]["crashes"] == 3
    assert (found["schema"], found["version"], found["seed"]) == ("pvefi/inject", 1, 0)


def without_times(read: Any) -> Any:
    if isinstance(read, dict):
        return {name: without_times(value) for name, value in read.items() if name != "cpu_seconds"}
    return [without_times(one) for one in read] if isinstance(read, list) else read


def test_the_same_seed_gives_the_same_document_but_for_times(frail: Path, found: dict[str, Any]) -> None:
    again = document(frail, "--timeout", "1", "--memory", "64M", "--jobs", "1")
    assert without_times(again) == without_times(found)


def test_the_line_for_a_crash_or_a_hang_repeats_it(found: dict[str, Any]) -> None:
    by_fault = {one["fault"]: one for one in found["findings"]}
    crash, hang = by_fault[f"AllocatePool#3{OUT}"], by_fault[f"AllocatePool#2{GONE}"]
    words = shlex.split(crash["command"])
    assert words[0] == "pvefi"
    crashed = pvefi(*words[1:])
    assert crashed.returncode == ExitStatus.GUEST_FAILED
    assert crashed.stdout.startswith(f"faulted: {crash['message']}")
    words = shlex.split(hang["command"])
    assert "--timeout" in words
    hung = pvefi(*words[1:], "--timeout", "2")
    assert hung.returncode == ExitStatus.TIMEOUT


def test_the_text_tells_counts_calls_and_the_lines_that_repeat(frail: Path) -> None:
    done = pvefi("inject", frail, "--timeout", "1", "--only", "AllocatePool")
    assert (done.returncode, done.stderr) == (ExitStatus.GUEST_FAILED, "")
    assert done.stdout.startswith("without faults: exited, it's frail.efi ended with EFI_SUCCESS\n")
    assert "AllocatePool#3  crashes        OUT_OF_RESOURCES, INVALID_PARAMETER, exhausted" in done.stdout
    assert f"--inject 'AllocatePool#2{OUT}'" in done.stdout
    assert done.stdout.endswith("12 faults tried: 3 fails cleanly, 3 goes on, 3 hangs, 3 crashes\n")


def test_a_plan_runs_nothing_and_says_what_would_run(frail: Path) -> None:
    done = pvefi("inject", frail, "--plan")
    assert (done.returncode, done.stderr) == (ExitStatus.OK, "")
    assert "2  AllocatePool#2  OUT_OF_RESOURCES, INVALID_PARAMETER, exhausted" in done.stdout
    assert done.stdout.endswith("12 faults of 4 calls would be tried\n")
    planned = json.loads(pvefi("inject", frail, "--plan", "--json").stdout)
    assert (planned["schema"], len(planned["injections"])) == ("pvefi/inject-plan", 12)


def test_an_image_that_takes_every_fault_is_status_0(tmp_path: Path) -> None:
    path = tmp_path / "good.efi"
    path.write_bytes(program(b"\x31\xc0\xc3"))
    done = pvefi("inject", path)
    assert (done.returncode, done.stderr) == (ExitStatus.OK, "")
    assert done.stdout.endswith("0 faults tried: there is nothing to try\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--machine", "qemu"), "expected the embedded machine, where boots can branch, found qemu"),
        (("--only", "Nothing*"), "expected a call of Nothing* to make fail, found none"),
        (("--entry", "pvh"), "expected an image with the 32-bit entry pvh"),
        (("--jobs", "0"), "--jobs"),
    ],
)
def test_what_cannot_be_tried_is_one_line_and_status_2(
    frail: Path, words: tuple[str, ...], said: str
) -> None:
    done = pvefi("inject", frail, *words)
    assert (done.returncode, done.stdout) == (ExitStatus.BAD_INPUT, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_image_that_never_ends_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "loop.efi"
    path.write_bytes(program(LOOP))
    done = pvefi("inject", path, "--timeout", "1")
    assert done.returncode == ExitStatus.BAD_INPUT
    assert "expected a boot that ends without any fault, found no end within its time" in done.stderr


def test_ctrl_c_ends_every_process(frail: Path) -> None:
    mark = uuid.uuid4().hex
    command = [*PVEFI, "inject", str(frail), "--timeout", "100", "--only", "AllocatePool"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, MARK: mark}
    ) as running:
        end = time.monotonic() + 60
        while len(marked_processes(mark)) < 4 and time.monotonic() < end:  # itself, the trunk, two that loop
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=30)
    assert (running.returncode, errors) == (ExitStatus.INTERRUPTED, "pvefi: interrupted\n")
    assert_all_gone(mark)


def test_a_real_kernel_retries_with_a_stale_key(corpus: RealFiles) -> None:
    read = document(corpus.kernel("cloud"), "--only", "ExitBootServices")
    assert read["without_faults"]["outcome"] == "hand-off"
    effects = {one["fault"]: (one["effect"], one["other_calls_follow"]) for one in read["findings"]}
    assert effects == {
        "ExitBootServices#1=EFI_INVALID_PARAMETER": ("goes on", True),
        "ExitBootServices#1:stale-key": ("goes on", True),
    }


def test_boot_injects_what_is_asked_for_and_refuses_what_is_no_fault(frail: Path) -> None:
    boot = ("boot", frail, "--machine", "embedded", "--seed", "0")
    done = pvefi(*boot, "--inject", f"AllocatePool#1{OUT}", "--json")
    assert done.returncode == ExitStatus.GUEST_FAILED
    told = json.loads(done.stdout)
    assert told["verdict"]["status"]["name"] == "EFI_OUT_OF_RESOURCES"
    assert told["faults"] == [f"AllocatePool#1{OUT}"]
    unmet = pvefi(*boot, "--inject", f"AllocatePool#5{OUT}")
    assert unmet.returncode == ExitStatus.OK
    assert unmet.stderr == f"pvefi: --inject AllocatePool#5{OUT}: the guest made no such call\n"
    refused = pvefi(*boot, "--inject", "AllocatePul=EFI_NOT_FOUND")
    assert refused.returncode == ExitStatus.BAD_INPUT
    assert "did you mean AllocatePool?" in refused.stderr


@pytest.mark.parametrize("entry", ["all", "qemu-linux", "linux64"])
def test_a_boot_without_calls_of_its_own_takes_no_fault(entry: str, tmp_path: Path) -> None:
    image = tmp_path / "bzImage"
    image.write_bytes(build_bzimage())
    machine = "qemu" if entry == "qemu-linux" else "embedded"
    done = pvefi("boot", image, "--machine", machine, "--entry", entry, "--inject", f"AllocatePool{OUT}")
    assert (done.returncode, done.stdout) == (ExitStatus.BAD_INPUT, "")
    assert "--inject" in done.stderr
