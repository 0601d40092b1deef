# SPDX-License-Identifier: GPL-2.0-or-later
"""tools/xen_wheels.py: the dom0's Python packages are fetched once, kept whole, and for its own Python."""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest

import xen_wheels
from corpus import CorpusError
from xen_wheels import ABSENT, requirements, wheel_contents, wheel_files


class Pip:
    """Stands in for pip: fetches one wheel, counts its runs, can fail a few times."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self.failures = 0

    def __call__(self, command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        self.commands.append(command)
        if self.failures:
            self.failures -= 1
            return subprocess.CompletedProcess(command, 1, "", "WARNING: again\nERROR: no network\n")
        folder = Path(command[command.index("-d") + 1])
        with zipfile.ZipFile(folder / "one-1-py3-none-any.whl", "w") as wheel:
            for name in (
                "one/__init__.py",
                "one/x.pyi",
                "one-1.data/scripts/one",
                "one-1.dist-info/METADATA",
            ):
                wheel.writestr(name, name)
        return subprocess.CompletedProcess(command, 0, "", "")


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> Pip:
    made = Pip()
    monkeypatch.setattr(subprocess, "run", made)
    monkeypatch.setattr("time.sleep", lambda _: None)
    return made


def test_what_other_machines_need_is_left_out() -> None:
    names = [one.partition(">")[0] for one in requirements()]
    assert {"click", "rich", "pefile", "cryptography"} <= set(names)
    assert not set(ABSENT) & set(names)


def test_wheels_are_fetched_once_and_for_the_dom0_s_python(pip: Pip, tmp_path: Path) -> None:
    (wheel,) = wheel_files(tmp_path)
    assert wheel_files(tmp_path) == [wheel]
    (command,) = pip.commands
    assert command[command.index("--python-version") + 1] == "3.11"
    assert "--only-binary=:all:" in command
    assert set(wheel_contents(wheel)) == {"one/__init__.py", "one-1.dist-info/METADATA"}


def test_a_wheel_that_has_changed_is_fetched_again(pip: Pip, tmp_path: Path) -> None:
    (wheel,) = wheel_files(tmp_path)
    whole = wheel.read_bytes()
    wheel.write_bytes(b"else")
    assert wheel_files(tmp_path)[0].read_bytes() == whole
    assert len(pip.commands) == 2


def test_a_network_that_fails_twice_is_tried_a_third_time(pip: Pip, tmp_path: Path) -> None:
    pip.failures = 2
    assert len(wheel_files(tmp_path)) == 1
    pip.failures = 3
    with pytest.raises(CorpusError, match="pip cannot fetch the dom0's Python packages: ERROR: no network"):
        wheel_files(tmp_path / "other")
    assert not list((tmp_path / "other").iterdir())


def test_other_requirements_are_another_folder(
    pip: Pip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (wheel,) = wheel_files(tmp_path)
    monkeypatch.setattr(xen_wheels, "requirements", lambda: ["other"])
    (other,) = wheel_files(tmp_path)
    assert other.parent != wheel.parent
