# SPDX-License-Identifier: GPL-2.0-or-later
"""The bench runs, on a program that ends at once; what it measures there is not looked at."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from bench.busy_program import CALLS, build_busy_program
from bench.figures import figures_of
from bench.run import image_facts, machine_facts, main, measure, print_tables
from tests.bench.made import boot_sample, samples
from tests.build.pe import build_pe

WIDE = ["all-entries", "inspect-directory", "inspect-directory-memory"]
"""Figures that take many boots or files, and a round of the bench's own."""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "program.efi"
    path.write_bytes(build_busy_program())
    return path


def test_one_round_measures_everything(program: Path) -> None:
    said: list[str] = []
    found = measure(program, 1, 1, said.append)
    assert said == ["round 1 of 1", "counted boot 1 of 1"]
    (boot,) = found.boots
    assert boot.outcome == "exited"
    assert len(boot.calls) == CALLS
    assert {service for service, _ in boot.calls} == {"AllocatePool", "FreePool"}
    assert boot.anonymous_memory > 1 << 20
    (counted,) = found.counted
    assert counted.instructions_to_image
    assert counted.instructions
    assert 0 < counted.instructions_to_image < counted.instructions
    assert boot.instructions is None
    missing = [figure.name for figure in figures_of(found) if not figure.values]
    assert missing == ["get-memory-map", *WIDE]  # this program never calls it


def test_a_kernel_that_misses_its_hand_off_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "program.efi"
    path.write_bytes(build_pe())
    monkeypatch.setattr("bench.run._QUICK_REPEATS", 1)
    assert main(["--quick", "--kernel", str(path)]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "expected every boot to reach its hand-off, found: exited" in said.err


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--quick", "--kernel", str(tmp_path / "nothing")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("bench: ")


def test_the_table_says_which_figures_are_missed(program: Path) -> None:
    stream = StringIO()
    figures = figures_of(samples(boot_sample(seconds=2.0, host_seconds=1.0)))
    print_tables(machine_facts(), image_facts(program), figures, Console(file=stream, width=130))
    lines = stream.getvalue().splitlines()
    assert any("time outside the emulator" in line and "missed" in line for line in lines)
    assert any("importing pvefi.cli" in line and "met" in line for line in lines)
    assert any(line.startswith("file program.efi") for line in lines)
