# SPDX-License-Identifier: GPL-2.0-or-later
"""Ctrl-C at any moment of the process `pvefi`: never a traceback."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from importlib.metadata import entry_points
from pathlib import Path

import pytest

SLOW = """\
import pathlib, time
pathlib.Path(__file__).with_suffix(".begun").touch()
time.sleep(60)
"""


def interrupted(folder: Path, slow: str, *words: str, ignored: bool = False) -> tuple[int, str]:
    """Run a `pvefi` that waits long while it imports the module `slow`, and send it SIGINT there."""
    (folder / f"{slow}.py").write_text(SLOW)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN) if ignored else None
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "pvefi", *words],
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(folder)},
        )
    finally:
        if before is not None:
            signal.signal(signal.SIGINT, before)
    with process:
        while not (folder / f"{slow}.begun").exists():
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        if ignored:
            time.sleep(0.2)
            assert process.poll() is None
            process.kill()
        _, errors = process.communicate(timeout=20)
    return process.returncode, errors


def test_ctrl_c_before_the_command_line_is_read_ends_the_process_without_a_word(tmp_path: Path) -> None:
    assert interrupted(tmp_path, "click", "--help") == (-signal.SIGINT, "")


def test_ctrl_c_while_a_verb_is_imported_is_told(tmp_path: Path) -> None:
    assert interrupted(tmp_path, "rich", "trace", "show", "x") == (130, "pvefi: interrupted\n")


def test_a_caller_that_ignores_ctrl_c_is_obeyed(tmp_path: Path) -> None:
    assert interrupted(tmp_path, "click", "--help", ignored=True)[0] == -signal.SIGKILL


def test_the_command_is_the_same_as_the_module() -> None:
    (entry,) = entry_points(group="console_scripts", name="pvefi")
    assert entry.value == "pvefi.__main__:main"
    command = shutil.which("pvefi", path=str(Path(sys.executable).parent))
    if command is None:
        pytest.skip("pvefi's command is not beside this python")
    done = subprocess.run([command, "--version"], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
