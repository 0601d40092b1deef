# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests of what is written into the directory."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from pvefi.evaluate.document import Section, cell
from pvefi.evaluate.report import document, write_reports
from pvefi.evaluate.report.document import picture_names
from tests.build.evaluation import evaluation, heat_map, image, memory_map, sections, table, timeline


def files(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}


def test_the_reports_and_every_picture_are_written(tmp_path: Path) -> None:
    written = write_reports(evaluation(), sections(), tmp_path)
    pictures = {"memory-maps", "timeline", "heat-map"}
    expected = {"report.json", "report.md", "report.html"} | {f"pictures/{name}.svg" for name in pictures}
    assert files(tmp_path) == expected
    assert {str(path.relative_to(tmp_path)) for path in written.paths} == expected
    assert written.lacking == ""
    assert json.loads((tmp_path / "report.json").read_text()) == document(evaluation(), sections())


@pytest.mark.parametrize("module", ["altair", "vl_convert", "jinja2"])
def test_without_the_extra_the_other_reports_are_there_and_one_line_says_what_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    written = write_reports(evaluation(), sections(), tmp_path)
    assert files(tmp_path) == {"report.json", "report.md"}
    assert module in written.lacking
    assert "pip install 'pvefi[evaluate]'" in written.lacking
    assert "\n" not in written.lacking


def test_a_page_of_twenty_images_and_five_entries_stays_below_3_mb(tmp_path: Path) -> None:
    images = [image(f"vmlinuz-6.{at}", f"6.{at}.0-1-amd64", f"{at % 16:x}") for at in range(20)]
    entries = ("efi", "efi-handover", "linux64", "linux32", "pvh")
    ways = [f"{one.file.name} by {entry}" for one in images for entry in entries]
    services = [f"SomeService{at}" for at in range(40)]
    fields = [
        [cell(f"hdr.a_field_{at}"), *(cell(at * 1_000_003 + n, note="moved") for n in range(5))]
        for at in range(350)
    ]
    parts = (table(fields), memory_map("abcde"), timeline(ways[:10]))
    made = [
        Section("matrix", "Matrix", (), (table([[cell(way), cell("user space")] for way in ways]),)),
        *(Section(f"handoff-{at}", f"Hand-off of {at}", (), parts) for at in range(len(images))),
        Section("services", "Services", (), (heat_map(services, ways),)),
    ]
    write_reports(evaluation(images), made, tmp_path)
    assert (tmp_path / "report.html").stat().st_size < 3_000_000


def test_what_cannot_be_written_ends_it_with_what_was_written_before(tmp_path: Path) -> None:
    (tmp_path / "pictures").write_text("no directory")
    (tmp_path / "report.html").write_text("old")
    with pytest.raises(OSError, match="pictures"):
        write_reports(evaluation(), sections(), tmp_path)
    assert json.loads((tmp_path / "report.json").read_text())
    assert (tmp_path / "report.html").read_text() == "old"
    assert files(tmp_path) == {"report.json", "report.md", "report.html", "pictures"}


def test_pictures_of_an_earlier_run_go_and_what_somebody_else_put_there_stays(tmp_path: Path) -> None:
    write_reports(evaluation(), sections(), tmp_path)
    for name in ("timeline-2.svg", "mine.svg", "timeline.png"):
        (tmp_path / "pictures" / name).write_text("")
    fewer = sections()[:2]
    write_reports(evaluation(), fewer, tmp_path)
    drawn = {f"{name}.svg" for name in picture_names(fewer)}
    assert len(drawn) < 3
    assert {path.name for path in (tmp_path / "pictures").iterdir()} == {*drawn, "mine.svg", "timeline.png"}


def test_links_in_the_directory_are_replaced_and_not_written_through(tmp_path: Path) -> None:
    out, precious = tmp_path / "out", tmp_path / "precious"
    (out / "pictures").mkdir(parents=True)
    precious.write_text("of the user")
    for name in ("report.json", "report.md", "report.html", "pictures/timeline.svg"):
        (out / name).symlink_to(precious)
    write_reports(evaluation(), sections(), out)
    assert precious.read_text() == "of the user"
    assert not any(path.is_symlink() for path in out.rglob("*"))


def test_pictures_are_not_written_into_a_folder_that_a_link_names(tmp_path: Path) -> None:
    out, other = tmp_path / "out", tmp_path / "other"
    out.mkdir()
    other.mkdir()
    (out / "pictures").symlink_to(other)
    with pytest.raises(OSError, match="expected a folder named pictures, found a symbolic link"):
        write_reports(evaluation(), sections(), out)
    assert not list(other.iterdir())
