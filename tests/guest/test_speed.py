# SPDX-License-Identifier: GPL-2.0-or-later
"""The committed speed.bin is what its source gives, and says what the host measures by."""

from __future__ import annotations

import os
import re
from importlib.resources import files
from pathlib import Path

import pytest

from build_guest import GUEST, build_speed
from pvefi.machines.qemu import speed
from tests.conftest import Tool


def test_the_committed_bytes_are_what_the_source_gives(
    tool: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = {str(Path(tool(name)).parent) for name in ("as", "ld")}
    monkeypatch.setenv("PATH", os.pathsep.join([*sorted(folders), os.environ["PATH"]]))
    build_speed(tmp_path / "speed.bin")
    committed = (files("pvefi.guest") / "speed.bin").read_bytes()
    assert (tmp_path / "speed.bin").read_bytes() == committed, "make guest"
    assert len(committed) == 256


def test_guest_and_host_agree_on_ports_and_counts() -> None:
    source = (GUEST / "speed.S").read_text(encoding="utf-8")
    told = {name: int(value, 0) for name, value in re.findall(r"\.set +(\w+), *(0x[0-9a-f]+|\d+)\b", source)}
    assert told["MARKS"] == speed.MARKS_PORT
    assert told["EXIT"] == speed.EXIT_PORT
    assert told["READS"] == speed.READS
    assert told["FIRST_LOOP"] * 2 == speed.FIRST_LOOP_INSTRUCTIONS
    assert told["LOOPS"] == speed.LOOPS
