# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import os
from pathlib import Path

from pvefi.image.walk import files_of


def made(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def names_of(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path, error in files_of([folder]) if error is None]


def test_files_are_passed_on_as_they_are_given(tmp_path: Path) -> None:
    given = [tmp_path / "b", tmp_path / "a", tmp_path / "missing"]
    made(tmp_path, "a", "b")
    assert list(files_of(given)) == [(path, None) for path in given]


def test_files_come_before_folders_and_numbers_in_order(tmp_path: Path) -> None:
    made(tmp_path, "vmlinuz-6.12", "vmlinuz-6.9", "vmlinuz-6.1.10", "vmlinuz-6.1.9", "b/y", "a/z/1", "a/x")
    assert names_of(tmp_path) == [
        "vmlinuz-6.1.9",
        "vmlinuz-6.1.10",
        "vmlinuz-6.9",
        "vmlinuz-6.12",
        "a/x",
        "a/z/1",
        "b/y",
    ]


def test_names_that_cannot_be_compared_as_numbers_are_sorted_too(tmp_path: Path) -> None:
    made(tmp_path, "1", "a", "1a", "a1", "²", "x²1", os.fsdecode(b"\xff"))
    assert len(names_of(tmp_path)) == 7


def test_links_to_files_are_followed_and_links_to_folders_are_not(tmp_path: Path) -> None:
    made(tmp_path, "folder/file")
    (tmp_path / "link").symlink_to("folder/file")
    (tmp_path / "loop").symlink_to(".")
    (tmp_path / "self").symlink_to("self")
    assert names_of(tmp_path) == ["link", "self", "folder/file"]


def test_a_directory_without_files_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty" / "deeper").mkdir(parents=True)
    ((path, error),) = files_of([tmp_path])
    assert path == tmp_path
    assert str(error) == f"{tmp_path}: expected a directory with files, found none in it"


def test_a_directory_that_goes_away_is_an_error_in_its_place(tmp_path: Path) -> None:
    made(tmp_path, "a/1", "b/1")
    found = []
    for path, error in files_of([tmp_path]):
        found.append((path.name, error is None))
        if path.parent.name == "a":
            (tmp_path / "b" / "1").unlink()
            (tmp_path / "b").rmdir()
    assert found == [("1", True), ("b", False)]
