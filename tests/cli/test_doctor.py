# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import json
from pathlib import Path

import pytest

from pvefi.cli import main
from pvefi.machines.survey import EmbeddedSurvey
from tests.conftest import Tool
from tests.machines.qemu.made import fake_qemu

Captured = pytest.CaptureFixture[str]


def test_the_machines_are_tried_and_told(tool: Tool, capsys: Captured) -> None:
    assert main(["doctor", "--qemu", tool("qemu-system-x86_64")]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert "embedded: works\n" in shown.out
    assert "qemu: works\n" in shown.out
    assert "\n  q35           a guest ran\n" in shown.out
    assert "xen: not here: this host does not run on Xen\n" in shown.out


def test_json_is_one_document(tmp_path: Path, capsys: Captured) -> None:
    assert main(["doctor", "--json", "--qemu", f"{tmp_path}/none"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["version"]) == ("pvefi/doctor", 1)
    assert document["machines"]["embedded"]["works"] is True
    assert document["machines"]["qemu"]["problem"] == f"{tmp_path}/none: there is no such file"


def test_the_environment_names_the_qemu_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    old = fake_qemu(tmp_path, version="QEMU emulator version 6.2.0")
    monkeypatch.setenv("PVEFI_QEMU", str(old))
    assert main(["doctor"]) == 0
    assert f"qemu: not here: {old}: expected QEMU 7.2 or later, found 6.2.0\n" in capsys.readouterr().out


def test_a_host_where_nothing_works_is_status_3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setattr(
        "pvefi.machines.survey.survey_embedded",
        lambda: EmbeddedSurvey(False, "no unicorn", "pip install unicorn"),
    )
    assert main(["doctor", "--qemu", f"{tmp_path}/none"]) == 3
    shown = capsys.readouterr().out
    assert "embedded: not here: no unicorn\n" in shown
    assert "\n  embedded      pip install unicorn\n" in shown


def test_arguments_are_refused(capsys: Captured) -> None:
    assert main(["doctor", "vmlinuz"]) == 2
    assert capsys.readouterr().err.startswith("pvefi: ")
