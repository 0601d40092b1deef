# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pvefi.cli import main
from tests.build.bzimage import build_bzimage
from tests.build.pe import build_pe

if TYPE_CHECKING:
    from tests.conftest import RealFiles

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    made = {
        "vmlinuz": build_bzimage(),
        "hello.efi": build_pe(),
        "text": b"Hello, world\n",
        "cut": build_pe(length=0x300),
    }
    for name, data in made.items():
        (tmp_path / name).write_bytes(data)
    return {name: str(tmp_path / name) for name in made}


def test_an_image_is_described(files: dict[str, str], capsys: Captured) -> None:
    assert main(["inspect", files["vmlinuz"]]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith(f"{files['vmlinuz']}: Linux bzImage")
    assert "XEN_ELFNOTE_PHYS32_ENTRY" in shown.out
    assert shown.err == ""


def test_lines_are_not_wrapped(files: dict[str, str], capsys: Captured) -> None:
    """They are pasted into mails, and cut by grep."""
    assert main(["inspect", files["vmlinuz"]]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) > 100
    assert lines == [line.rstrip() for line in lines]


def test_a_file_that_is_no_image_is_one_line_and_status_2(files: dict[str, str], capsys: Captured) -> None:
    assert main(["inspect", files["text"]]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == (
        f"pvefi: {files['text']}: expected a PE image for EFI, a bzImage or a vmlinux, found a text file\n"
    )


def test_of_many_files_the_bad_ones_are_one_line_each_and_the_others_are_shown(
    files: dict[str, str], capsys: Captured
) -> None:
    assert main(["inspect", files["text"], files["hello.efi"], files["cut"], files["vmlinuz"]]) == 2
    shown = capsys.readouterr()
    assert len(shown.err.splitlines()) == 2
    heads = [line for line in shown.out.splitlines() if line.startswith("/")]
    assert [head.split(":")[0] for head in heads] == [files["hello.efi"], files["vmlinuz"]]


def test_json_is_one_document_with_images_and_errors(files: dict[str, str], capsys: Captured) -> None:
    assert main(["inspect", "--json", files["vmlinuz"], files["text"], files["hello.efi"]]) == 2
    shown = capsys.readouterr()
    document = json.loads(shown.out)
    assert (document["schema"], document["version"]) == ("pvefi/inspect", 1)
    assert [image["path"] for image in document["images"]] == [files["vmlinuz"], files["hello.efi"]]
    assert [error["found"] for error in document["errors"]] == ["a text file"]
    assert shown.err.startswith(f"pvefi: {files['text']}: ")


def test_json_of_one_bad_file_is_a_document_too(files: dict[str, str], capsys: Captured) -> None:
    assert main(["inspect", "--json", files["cut"]]) == 2
    document = json.loads(capsys.readouterr().out)
    assert document["images"] == []
    assert len(document["errors"]) == 1


def test_no_file_is_a_usage_error(capsys: Captured) -> None:
    assert main(["inspect"]) == 2
    assert "missing argument" in capsys.readouterr().err.lower()


def test_a_missing_file_and_a_directory_are_one_line_each(tmp_path: Path, capsys: Captured) -> None:
    assert main(["inspect", str(tmp_path / "none"), str(tmp_path)]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith("none: cannot be read: No such file or directory")
    assert second.endswith("found a directory")


def test_a_real_kernel_in_json(corpus: RealFiles, capsys: Captured) -> None:
    assert main(["inspect", "--json", str(corpus.file("cloud", "boot/vmlinuz-*"))]) == 0
    (image,) = json.loads(capsys.readouterr().out)["images"]
    assert image["payload"]["compression"] == "lz4"
    assert [entry["kind"] for entry in image["entries"]][-2:] == ["pvh", "xen-pv"]
