# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import json
from pathlib import Path

import pytest

from pvefi.cli import main
from pvefi.report.boot import to_json
from pvefi.verdict import BootResult, Outcome
from tests.report.made import handoff, result


def written(path: Path, *boots: BootResult) -> str:
    documents = [to_json(boot) for boot in boots]
    whole = (
        documents[0] if len(documents) == 1 else {"schema": "pvefi/boots", "version": 1, "boots": documents}
    )
    path.write_text(json.dumps(whole))
    return str(path)


def test_equal_hand_offs_are_status_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path / "a", result())
    assert main(["handoff", "diff", path, path]) == 0
    assert "equal: all" in capsys.readouterr().out


def test_a_difference_is_status_1_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = written(tmp_path / "a", result())
    b = written(tmp_path / "b", result(handoff=handoff(command_line="nokaslr")))
    assert main(["handoff", "diff", a, b]) == 1
    captured = capsys.readouterr()
    assert "1 of" in captured.out
    assert captured.err == ""


def test_one_document_of_several_boots_serves_for_both(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "boots", result(), result(entry="pvh", handoff=handoff(memory_map=())))
    assert main(["handoff", "diff", "--json", f"{path}:efi", f"{path}:pvh"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["b"]["boot"] == f"{path}:pvh"
    assert [one["section"] for one in document["differences"]] == ["EFI memory map"]


def test_a_side_without_a_hand_off_is_status_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = written(tmp_path / "a", result())
    b = written(tmp_path / "b", result(Outcome.HALTED, "it stopped"))
    assert main(["handoff", "diff", a, b]) == 1
    assert "B has no hand-off to compare" in capsys.readouterr().out


def test_no_hand_off_on_either_side_is_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path / "a", result(Outcome.HALTED, "it stopped"))
    assert main(["handoff", "diff", path, path]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("pvefi: expected a hand-off to compare, found none in")
    assert captured.err.count("\n") == 1
    assert captured.out == ""


@pytest.mark.parametrize("content", ["", "{", "[]", "MZ\x1b", '{"schema": "pvefi/boot", "version": 1}'])
def test_a_file_that_is_no_boot_is_one_line_and_bad_input(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.json"
    path.write_text(content)
    good = written(tmp_path / "good", result())
    for pair in ((str(path), good), (good, str(path))):
        assert main(["handoff", "diff", *pair]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith(f"pvefi: {path}")
        assert captured.err.count("\n") == 1


def test_no_verb_is_one_line_and_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["handoff"]) == 2
    assert capsys.readouterr().err == "pvefi: missing command (pvefi handoff --help)\n"
