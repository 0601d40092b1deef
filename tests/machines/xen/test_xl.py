# SPDX-License-Identifier: GPL-2.0-or-later
"""xl is given its time, and quoted where it fails."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from pvefi.errors import MachineError
from pvefi.machines.xen.xl import Xl, find_xl


def program(folder: Path, shell: str) -> Xl:
    path = folder / "xl"
    path.write_text(f"#!/bin/sh\n{shell}\n")
    path.chmod(0o755)
    return Xl(path)


def test_an_xl_that_hangs_is_ended_with_all_that_it_has_started(tmp_path: Path) -> None:
    xl = program(tmp_path, f"echo waiting for the lock >&2; (sleep 2; touch {tmp_path}/late) & wait")
    with pytest.raises(
        MachineError, match=r"xl create did not end within 0\.3 s: waiting for the lock"
    ) as told:
        xl.create(Path("x"), seconds=0.3)
    assert told.value.way_out
    time.sleep(2.5)
    assert not (tmp_path / "late").exists()


@pytest.mark.parametrize(
    ("said", "quoted"),
    [
        ("", "xl destroy failed"),
        ("Parsing config\nlibxl: error: first\nlibxl: error: last", "xl destroy failed: libxl: error: first"),
        (
            "libxl: error: libxl_exec.c:117:libxl_report_child_exitstatus: /etc/xen/scripts/block add [9] "
            "exited with error status 1\nlibxl: error: libxl_create.c:2000:domcreate: cannot add disk",
            "xl destroy failed: /etc/xen/scripts/block add [9] exited with error status 1",
        ),
        ("7 is an invalid domain identifier (rc=-6)", "xl destroy failed: 7 is an invalid domain identifier"),
        (
            "libxl: error: cause\nWARNING: libxl error handling is bad",
            "xl destroy failed: libxl: error: cause",
        ),
    ],
)
def test_the_line_that_says_most_is_quoted(tmp_path: Path, said: str, quoted: str) -> None:
    xl = program(tmp_path, f"cat >&2 <<'EOF'\n{said}\nEOF\nexit 1")
    with pytest.raises(MachineError) as told:
        xl.destroy(7)
    assert told.value.message.startswith(quoted)


def test_a_script_that_fails_has_said_why_in_its_log(tmp_path: Path) -> None:
    xl = program(tmp_path, "echo 'libxl: error: /etc/xen/scripts/block add [9] exited' >&2; exit 1")
    with pytest.raises(MachineError) as told:
        xl.destroy(7)
    assert told.value.way_out == "the end of /var/log/xen/xen-hotplug.log says why"


def test_an_xl_that_dies_is_told(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="xl unpause was ended by signal 9"):
        program(tmp_path, "kill -9 $$").unpause(7)


def test_json_is_read_though_xl_warns_beside_it(tmp_path: Path) -> None:
    xl = program(tmp_path, """echo WARNING >&2; echo '[{"domid": 7}]'""")
    assert xl.configuration(7) == [{"domid": 7}]


def test_what_is_no_json_is_told(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="expected JSON, found 'no'"):
        program(tmp_path, "printf no").configuration(7)


def test_xl_is_found_beside_path_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = program(tmp_path, "")
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("pvefi.machines.xen.xl._SEARCHED", (str(tmp_path),))
    assert find_xl() == made
    monkeypatch.setattr("pvefi.machines.xen.xl._SEARCHED", ())
    with pytest.raises(MachineError, match="is not there"):
        find_xl()
