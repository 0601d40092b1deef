# SPDX-License-Identifier: GPL-2.0-or-later
"""The fixtures' promise: what is lacking skips a test on a developer's machine and fails it under CI."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

TESTS = """\
import pytest

def test_a_program(tool):
    tool("no-such-program")

def test_a_file(corpus):
    corpus.file("cloud")

def test_another_file(corpus):
    corpus.file("amd64")

def test_for_reasons_of_its_own():
    pytest.skip("the moon is full")

@pytest.mark.full
def test_the_cross_product():
    pass
"""


def run(folder: Path, ci: str, *words: str) -> str:
    (folder / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text())
    (folder / "test_it.py").write_text(TESTS)
    configuration = (ROOT / "pyproject.toml").read_text().split("[tool.pytest.ini_options]")[1]
    (folder / "pytest.toml").unlink(missing_ok=True)
    (folder / "pyproject.toml").write_text(f"[tool.pytest.ini_options]{configuration.split('[tool.')[0]}")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", ".", *words],
        cwd=folder,
        check=False,
        capture_output=True,
        text=True,
        env=os.environ
        | {
            "CI": ci,
            "PATH": "/nowhere",
            "PYTHONPATH": str(ROOT / "tools"),
            "PVEFI_CACHE": str(folder / "cache"),
        },
    )
    return done.stdout


def test_a_developer_sees_what_was_skipped_and_why(tmp_path: Path) -> None:
    text = run(tmp_path, "")
    assert "1 passed, 4 skipped" in text
    assert "no-such-program is missing" in text
    assert "apt-get is missing" in text


def test_ci_fails_for_what_it_is_meant_to_have_and_lists_other_skips(tmp_path: Path) -> None:
    text = run(tmp_path, "true", "-m", "not full")
    assert "3 failed, 1 skipped, 1 deselected" in text
    assert "CI is meant to have this: no-such-program is missing" in text
    assert "CI is meant to have this: cannot fetch linux-image-cloud-amd64: apt-get is missing" in text
    assert "skipped under CI: 1" in text
    assert "test_it.py::test_for_reasons_of_its_own: the moon is full" in text


@pytest.mark.parametrize("ci", ["", "true"])
def test_an_archive_that_was_refused_once_is_not_asked_again(tmp_path: Path, ci: str) -> None:
    assert "before that: cannot fetch linux-image-cloud-amd64" in run(tmp_path, ci)
