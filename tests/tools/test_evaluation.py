# SPDX-License-Identifier: GPL-2.0-or-later
"""tools/evaluation.py: what it runs, what it does not run again, and what it lets into the documentation."""

from __future__ import annotations

from pathlib import Path

import pytest

from evaluation import IMAGES, EvaluationError, Step, main, publish, readme, run_steps, steps
from tests.evaluate.made import program, returning

VERSION = Step("version", ("--version",), "version.txt", ("version.txt",), "what runs here")
WRONG = Step("wrong", ("no-such-verb",), "wrong.txt", ("wrong.txt",), "nothing")


def test_the_commands_name_files_without_their_folders() -> None:
    planned = steps(["vmlinuz-1", "vmlinuz-2"])
    assert [step.line for step in planned] == [
        "pvefi evaluate vmlinuz-1 vmlinuz-2 --machines embedded,qemu --repeat 3 -o report",
        "pvefi minimise vmlinuz-1 --json -o smallest-profile.json > minimise.json",
        "pvefi inject vmlinuz-1 --json > inject.json",
    ]
    assert [name for name, _ in IMAGES] == ["cloud", "amd64", "cloud-6.12", "xen"]


def test_what_was_done_is_not_done_again_until_something_changes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = run_steps(tmp_path, [VERSION], "a mark")
    assert (tmp_path / "version.txt").read_text().startswith("pvefi")
    assert "done before" not in capsys.readouterr().err
    (tmp_path / "version.txt").write_text("kept")
    assert run_steps(tmp_path, [VERSION], "a mark") == first
    assert capsys.readouterr().err == "evaluation: 1 of 1: pvefi --version > version.txt: done before\n"
    assert (tmp_path / "version.txt").read_text() == "kept"
    run_steps(tmp_path, [VERSION], "another mark")
    assert (tmp_path / "version.txt").read_text() != "kept"


def test_a_command_that_fails_ends_it_and_runs_again_next_time(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(EvaluationError, match=r"pvefi no-such-verb > wrong\.txt: ended with 2"):
            run_steps(tmp_path, [VERSION, WRONG], "a mark")


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    (folder / "report" / "pictures").mkdir(parents=True)
    (folder / "report" / "pictures" / "map.svg").write_text("<svg/>")
    (folder / "report" / "report.md").write_text("# Report\n")
    return folder


REPORT = Step("evaluate", ("evaluate",), "", ("report/report.md", "report/pictures/"), "a report")


def test_what_was_published_before_makes_room(tmp_path: Path, work: Path) -> None:
    target = tmp_path / "docs"
    target.mkdir()
    (target / "old.md").write_text("old")
    assert publish(work, [REPORT], target, ["/nowhere"]) == ["report.md", "pictures/map.svg"]
    found = sorted(str(path.relative_to(target)) for path in target.rglob("*.*"))
    assert found == ["pictures/map.svg", "report.md"]


def test_a_path_of_this_host_and_a_missing_file_publish_nothing(tmp_path: Path, work: Path) -> None:
    with pytest.raises(EvaluationError, match=r"report.md: expected no path of this host, found # Rep"):
        publish(work, [REPORT], tmp_path / "docs", ["# Rep"])
    (work / "report" / "report.md").unlink()
    with pytest.raises(EvaluationError, match=r"expected to find report/report.md, which it did not write"):
        publish(work, [REPORT], tmp_path / "docs", [])
    assert not (tmp_path / "docs").exists()


def test_what_inject_says_is_published_as_a_page_too(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    program(work, returning(0), "return.efi")
    step = Step("inject", ("inject", "return.efi", "--json"), "inject.json", ("inject.json",), "what fails")
    run_steps(work, [step], "a mark")
    names = publish(work, [step], tmp_path / "docs", [str(tmp_path)])
    assert names == ["inject.json", "inject.md"]
    page = (tmp_path / "docs" / "inject.md").read_text()
    assert page.startswith("# What fails\n\n`pvefi inject return.efi --json > inject.json`\n")
    assert "return.efi" in page.split("\n", maxsplit=3)[3]


def test_the_page_has_the_commands_and_every_file() -> None:
    page = readme([REPORT], ["report.md", "pictures/map.svg"], {"evaluate": 61.4}, ["xen.efi: xen 4.17"])
    assert "| `pvefi evaluate` | 61 | a report |" in page
    assert "- xen.efi: xen 4.17\n" in page
    assert "no boot of Xen" in page
    assert "- [pictures/map.svg](pictures/map.svg)\n" in page


def test_a_wrong_option_is_a_usage_error() -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--no-such-option"])
