# SPDX-License-Identifier: GPL-2.0-or-later
"""What a person at a terminal sees: no line is wider than it, but for words that are."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.build.bzimage import build_bzimage
from tests.build.pe import PeSection, build_pe


def on_terminal(folder: Path, width: int, *words: str, **environment: str) -> list[str]:
    """Return the lines that `pvefi` leaves on a terminal."""
    leader, follower = pty.openpty()
    size = {"COLUMNS": str(width), "LINES": "50", "TERM": "xterm"}
    process = subprocess.Popen(
        [sys.executable, "-m", "pvefi", *words],
        cwd=folder,
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env=os.environ | size | environment,
    )
    os.close(follower)
    output = b""
    try:
        while part := os.read(leader, 65536):
            output += part
    except OSError:  # EIO: the other end has been closed
        pass
    os.close(leader)
    assert process.wait() == 0, output
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output.decode()).replace("\r\n", "\n")
    return [line.rpartition("\r")[2] for line in plain.split("\n")]


@pytest.mark.parametrize("width", [80, 100])
@pytest.mark.parametrize("words", [["boot", "program.efi"], ["inspect", "vmlinuz"], ["doctor"]], ids=" ".join)
def test_every_line_fits_the_terminal(tmp_path: Path, width: int, words: list[str]) -> None:
    returning_success = PeSection(data=bytes.fromhex("31c0c3").ljust(0x200, b"\0"))
    (tmp_path / "program.efi").write_bytes(build_pe(sections=[returning_success]))
    (tmp_path / "vmlinuz").write_bytes(build_bzimage())
    lines = on_terminal(tmp_path, width, *words)
    assert len(lines) > 5
    assert [line for line in lines if len(line) > width] == []


def test_a_terminal_without_unicode_gets_plain_progress(tmp_path: Path) -> None:
    returning_success = PeSection(data=bytes.fromhex("31c0c3").ljust(0x200, b"\0"))
    (tmp_path / "program.efi").write_bytes(build_pe(sections=[returning_success]))
    lines = on_terminal(tmp_path, 80, "boot", "program.efi", PYTHONIOENCODING="ascii")
    assert not any("\\u28" in line for line in lines)
    assert any(line.startswith("exited: program.efi ended with EFI_SUCCESS") for line in lines)
