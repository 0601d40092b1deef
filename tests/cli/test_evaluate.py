# SPDX-License-Identifier: GPL-2.0-or-later
"""`pvefi evaluate` as a program: what it writes where, and its exit statuses."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pvefi.cli import main
from pvefi.cli.status import ExitStatus
from tests.conftest import RealFiles
from tests.evaluate.made import FAULT, LOOP, program, returning
from tests.leftovers import MARK, assert_all_gone

Captured = pytest.CaptureFixture[str]
EMBEDDED = ("--machines", "embedded")


def run(*words: object) -> int:
    return main(["evaluate", *map(str, words)])


def report(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return document


def test_a_program_that_ends_well_is_status_0_and_three_reports(tmp_path: Path, capsys: Captured) -> None:
    out = tmp_path / "out"
    assert run(program(tmp_path, returning(0)), *EMBEDDED, "-o", out) == ExitStatus.OK
    shown = capsys.readouterr()
    assert shown.err == ""
    assert "  program.efi  embedded  efi  handoff\n" in shown.out
    assert shown.out.splitlines()[-1].startswith(f"reports: {out}/report.json, {out}/report.md")
    assert report(out)["schema"] == "pvefi/evaluation"
    assert len(list((out / "results").iterdir())) == 1


def test_two_entries_of_a_real_kernel_reach_their_hand_off(
    corpus: RealFiles, tmp_path: Path, capsys: Captured
) -> None:
    kernel = corpus.kernel("cloud")
    words = (*EMBEDDED, "--entries", "efi,pvh", "--repeat", "1", "--json", "-o", tmp_path / "out")
    assert run(kernel, *words) == ExitStatus.OK
    document = json.loads(capsys.readouterr().out)
    assert document == report(tmp_path / "out")
    assert document["images"][0]["name"] == kernel.name
    assert document["command"].startswith(f"pvefi evaluate {kernel} --machines embedded")


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (returning(1 << 63 | 3), ExitStatus.GUEST_FAILED),
        (FAULT, ExitStatus.GUEST_FAILED),
        (LOOP, ExitStatus.TIMEOUT),
    ],
)
def test_the_status_tells_how_the_worst_boot_ended(
    tmp_path: Path, capsys: Captured, code: str, status: ExitStatus
) -> None:
    good, bad = program(tmp_path, returning(0), "good.efi"), program(tmp_path, code, "bad.efi")
    words = (*EMBEDDED, "--timeout", "0.5", "-o", tmp_path / "out")
    assert run(good, bad, *words) == status
    shown = capsys.readouterr()
    assert "  good.efi  embedded  efi  handoff\n" in shown.out
    assert "failed:\n  bad.efi efi embedded handoff: " in shown.out
    (line,) = shown.err.splitlines()
    assert line.startswith(
        "pvefi: 1 of 2 boots did not reach what they were to, the first: bad.efi efi embedded handoff: "
    )


def test_an_image_that_cannot_be_read_is_told_and_the_rest_goes_on(tmp_path: Path, capsys: Captured) -> None:
    text, out = tmp_path / "README", tmp_path / "out"
    text.write_text("not an image")
    assert run(text, program(tmp_path, returning(0)), *EMBEDDED, "-o", out) == ExitStatus.BAD_INPUT
    shown = capsys.readouterr()
    assert f"missing:\n  {text}: expected " in shown.out
    assert shown.err.startswith(f"pvefi: 1 thing asked for cannot be had, the first: {text}: expected ")
    (gap,) = report(out)["gaps"]
    assert (gap["what"], gap["problem"]) == (str(text), "input")


def test_a_machine_that_was_named_and_is_missing_is_told_and_the_rest_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("--machines", "embedded,qemu", "--qemu", tmp_path / "none", "-o", out)
    assert run(program(tmp_path, returning(0)), *words) == ExitStatus.NO_MACHINE
    (gap,) = report(out)["gaps"]
    assert (gap["what"], gap["problem"]) == ("machine qemu", "machine")
    assert len(list((out / "results").iterdir())) == 1


def test_where_nothing_can_run_there_is_one_line_and_no_report(tmp_path: Path, capsys: Captured) -> None:
    text, out = tmp_path / "README", tmp_path / "out"
    text.write_text("not an image")
    assert run(text, *EMBEDDED, "-o", out) == ExitStatus.BAD_INPUT
    shown = capsys.readouterr()
    assert shown.out == ""
    (line,) = shown.err.splitlines()
    assert line.startswith(f"pvefi: nothing can be run: {text}: ")
    assert not out.exists()


def test_where_nothing_can_run_every_reason_is_told(tmp_path: Path, capsys: Captured) -> None:
    text, absent = tmp_path / "README", tmp_path / "absent"
    text.write_text("not an image")
    assert run(text, absent, *EMBEDDED, "-o", tmp_path / "out") == ExitStatus.BAD_INPUT
    told = capsys.readouterr().err
    assert len(told.splitlines()) == 2
    assert f"{text}: " in told
    assert f"{absent}: " in told


def test_where_only_the_machine_is_missing_the_status_is_3(tmp_path: Path, capsys: Captured) -> None:
    words = ("--machines", "qemu", "--qemu", tmp_path / "none", "-o", tmp_path / "out")
    assert run(program(tmp_path, returning(0)), *words) == ExitStatus.NO_MACHINE
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"pvefi: nothing can be run: machine qemu: {tmp_path}/none: there is no such file")


def test_results_that_are_there_are_not_run_again(tmp_path: Path, capsys: Captured) -> None:
    image, out = program(tmp_path, returning(0)), tmp_path / "out"
    assert run(image, *EMBEDDED, "-o", out) == ExitStatus.OK
    before = {path: path.stat().st_mtime_ns for path in (out / "results").iterdir()}
    (out / "report.json").unlink()
    capsys.readouterr()
    assert run(image, *EMBEDDED, "-o", out, "--resume") == ExitStatus.OK
    shown = capsys.readouterr()
    assert shown.err == "pvefi: 1 of 1 boots are there already, 0 run\n"
    assert "s together, all by an earlier run\n" in shown.out
    assert {path: path.stat().st_mtime_ns for path in (out / "results").iterdir()} == before
    assert report(out)["schema"] == "pvefi/evaluation"


def test_results_of_something_else_are_not_mixed_with_these(tmp_path: Path, capsys: Captured) -> None:
    image, out = program(tmp_path, returning(0)), tmp_path / "out"
    assert run(image, *EMBEDDED, "-o", out) == ExitStatus.OK
    capsys.readouterr()
    assert run(image, *EMBEDDED, "-o", out) == ExitStatus.BAD_INPUT
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"pvefi: {out}: expected a directory without results, found results/")
    assert "--resume" in line


def test_a_disk_that_fills_up_costs_what_cannot_be_written_and_is_told(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for module in ("journal", "report.reports"):
        monkeypatch.setattr(f"pvefi.evaluate.{module}.put_file", full)
    out = tmp_path / "out"
    words = (*EMBEDDED, "--json", "-o", out)
    assert run(program(tmp_path, returning(0)), *words) == ExitStatus.BAD_INPUT
    shown = capsys.readouterr()
    assert json.loads(shown.out)["schema"] == "pvefi/evaluation"
    assert shown.err.splitlines() == [
        f"pvefi: {out}/results: cannot keep results: No space left on device: --resume will run boots again",
        f"pvefi: {out}: cannot write the reports: No space left on device",
    ]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--entries", "linux65"), "--entries expects some of efi, efi-handover, linux64,"),
        (("--machines", ","), "--machines expects some of embedded, qemu, xen, found none"),
        (("--jobs", "2", "--scheduler", "here"), "expected --jobs or --scheduler, found both"),
        (("--repeat", "0"), "0 is not in the range"),
        (("--initrd", "none"), "none: expected an initial ramdisk, found: No such file or directory"),
        (("--profile", "maximal"), "maximal"),
    ],
)
def test_options_that_make_no_sense_are_one_line(
    tmp_path: Path, capsys: Captured, words: tuple[str, ...], told: str
) -> None:
    out = tmp_path / "out"
    assert run(program(tmp_path, returning(0)), *words, "-o", out) == ExitStatus.BAD_INPUT
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line
    assert not out.exists()


def test_ctrl_c_ends_all_that_runs_and_the_rest_can_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv(MARK, str(tmp_path))
    quick, slow = program(tmp_path, returning(0), "quick.efi"), program(tmp_path, LOOP, "slow.efi")
    out = tmp_path / "out"
    words = [str(quick), str(slow), *EMBEDDED, "--jobs", "2", "-o", str(out)]
    process = subprocess.Popen(
        [sys.executable, "-m", "pvefi", "evaluate", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    end = time.monotonic() + 60
    while not list(out.glob("results/*.json")):
        assert time.monotonic() < end
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == ExitStatus.INTERRUPTED
    assert output == b""
    assert errors == b"pvefi: interrupted; 1 of 2 boots are done, --resume goes on with them\n"
    assert_all_gone(str(tmp_path))
    assert run(*words, "--resume", "--timeout", "0.5") == ExitStatus.TIMEOUT
    assert capsys.readouterr().err.startswith("pvefi: 1 of 2 boots are there already, 1 run\npvefi: 1 of 2 ")


def test_on_a_terminal_it_is_shown_what_runs(tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    words = [str(program(tmp_path, LOOP)), *EMBEDDED, "--timeout", "1", "-o", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-m", "pvefi", "evaluate", *words],
        check=False,
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # EIO: nobody holds the other end any more
            break
        shown += part
    os.close(ours)
    assert done.returncode == ExitStatus.TIMEOUT
    assert b"program.efi efi embedded handoff" in shown
    assert b"1/1" in shown
    assert b"1 failed" in shown
