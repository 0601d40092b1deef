# SPDX-License-Identifier: GPL-2.0-or-later
"""Archives are judged by the cpio program, which is not of this project."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from pvefi.image.initrd import initrd_text
from pvefi.probe.cpio import archive, character_device, directory, regular_file, symbolic_link, with_folders

ENTRIES = (
    directory("bin"),
    regular_file("bin/program", b"\x7fELF...", executable=True),
    regular_file("odd", b"12345"),
    regular_file("empty", b""),
    symbolic_link("bin/other", "program"),
    character_device("dev-null", 1, 3),
)


def cpio(tool: Callable[[str], str], words: list[str], data: bytes, folder: Path) -> str:
    done = subprocess.run([tool("cpio"), *words], input=data, cwd=folder, capture_output=True, check=True)
    return done.stdout.decode()


def test_another_program_lists_every_entry(tool: Callable[[str], str], tmp_path: Path) -> None:
    lines = cpio(tool, ["-itv", "--quiet", "--numeric-uid-gid"], archive(ENTRIES), tmp_path).splitlines()
    assert [line.split()[0] for line in lines] == [
        *("drwxr-xr-x", "-rwxr-xr-x", "-rw-r--r--", "-rw-r--r--", "lrwxrwxrwx", "crw-------"),
    ]
    assert lines[4].endswith("bin/other -> program")
    assert lines[5].split()[4:6] == ["1,", "3"]
    assert all(line.split()[2:4] == ["0", "0"] for line in lines)


def test_another_program_unpacks_the_contents(tool: Callable[[str], str], tmp_path: Path) -> None:
    files = [entry for entry in ENTRIES if entry.name != "dev-null"]
    cpio(tool, ["-id", "--quiet", "--no-preserve-owner"], archive(files), tmp_path)
    assert (tmp_path / "bin" / "program").read_bytes() == b"\x7fELF..."
    assert (tmp_path / "bin" / "other").readlink() == Path("program")
    assert ((tmp_path / "odd").read_bytes(), (tmp_path / "empty").read_bytes()) == (b"12345", b"")


def test_the_same_entries_give_the_same_bytes() -> None:
    assert archive(ENTRIES) == archive(ENTRIES)
    assert len(archive(ENTRIES)) % 4 == 0


def test_pvefi_knows_it_for_an_initrd() -> None:
    assert initrd_text(archive(ENTRIES)) == "an initrd (cpio archive)"


def test_every_entry_comes_after_its_folders() -> None:
    file, other = regular_file("usr/bin/program", b""), regular_file("usr/other", b"")
    entries = with_folders([file, other, regular_file("top", b"")])
    assert [entry.name for entry in entries] == ["usr", "usr/bin", "usr/bin/program", "usr/other", "top"]
    assert entries[:2] == (directory("usr"), directory("usr/bin"))
