# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pvefi.cli import main
from tests.build.bzimage import build_bzimage
from tests.build.cpio import archive
from tests.build.elf import build_elf
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


def test_a_missing_file_is_one_line(tmp_path: Path, capsys: Captured) -> None:
    assert main(["inspect", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.endswith("none: cannot be read: No such file or directory\n")


def heads(text: str) -> list[str]:
    return [Path(line.split(": ")[0]).name for line in text.splitlines() if line.startswith("/")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a directory with more files than one process takes on alone."""
    top = tmp_path / "boot"
    (top / "efi").mkdir(parents=True)
    for release in ("6.9", "6.12", "6.1"):
        (top / f"vmlinuz-{release}").write_bytes(build_bzimage())
    (top / "initrd.img").write_bytes(gzip.compress(archive("init")))
    (top / "config").write_text("CONFIG_EFI_STUB=y\n")
    (top / "efi" / "hello.efi").write_bytes(build_pe())
    (top / "efi" / "OVMF.fd").write_bytes(bytes(0x28) + b"_FVH" + bytes(100))
    return top


def test_a_directory_is_looked_through(folder: Path, capsys: Captured) -> None:
    assert main(["inspect", str(folder)]) == 2
    shown = capsys.readouterr()
    assert heads(shown.out) == ["vmlinuz-6.1", "vmlinuz-6.9", "vmlinuz-6.12", "hello.efi"]
    assert [line.partition("found ")[2] for line in shown.err.splitlines()] == [
        "a text file",
        "an initrd (cpio archive, gzip)",
        "a firmware volume (OVMF and the like)",
    ]


def test_a_directory_of_images_only_is_a_success(folder: Path, capsys: Captured) -> None:
    for name in ("config", "initrd.img", "efi/OVMF.fd"):
        (folder / name).unlink()
    assert main(["inspect", str(folder)]) == 0
    assert capsys.readouterr().err == ""


def test_files_and_directories_are_shown_in_the_order_given(folder: Path, capsys: Captured) -> None:
    given = [folder / "efi" / "hello.efi", folder, folder / "vmlinuz-6.9"]
    assert main(["inspect", "--json", *map(str, given)]) == 2
    document = json.loads(capsys.readouterr().out)
    names = [Path(image["path"]).name for image in document["images"]]
    assert names == ["hello.efi", "vmlinuz-6.1", "vmlinuz-6.9", "vmlinuz-6.12", "hello.efi", "vmlinuz-6.9"]
    assert [Path(error["path"]).name for error in document["errors"]] == ["config", "initrd.img", "OVMF.fd"]


def test_an_empty_directory_is_one_line(tmp_path: Path, capsys: Captured) -> None:
    assert main(["inspect", str(tmp_path)]) == 2
    shown = capsys.readouterr()
    assert (shown.out, len(shown.err.splitlines())) == ("", 1)
    assert "expected a directory with files, found none in it" in shown.err


def pvefi(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "pvefi", *map(str, words)]


def test_nothing_but_errors_goes_to_a_pipe_s_stderr(folder: Path) -> None:
    done = subprocess.run(pvefi("inspect", "--json", folder), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert all(line.startswith("pvefi: /") for line in done.stderr.splitlines())
    assert len(json.loads(done.stdout)["images"]) == 4


def test_a_terminal_shows_how_far_it_is(folder: Path) -> None:
    ours, theirs = os.openpty()
    with subprocess.Popen(
        pvefi("inspect", "--json", folder), stdout=subprocess.PIPE, stderr=theirs
    ) as running:
        os.close(theirs)
        assert running.stdout is not None
        running.stdout.read()
        shown = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert "inspecting 3 of 7: vmlinuz-6.1" in shown
    assert shown.rstrip("\r\n").rpartition("\x1b[K")[2] == ""


def test_ctrl_c_is_one_line_and_leaves_nobody_behind(tmp_path: Path) -> None:
    fifo = tmp_path / "slow"
    fifo.mkdir()
    slow = build_bzimage(build_elf(filler=64 << 20), compression="xz")
    for number in range(40):
        (fifo / f"vmlinuz-{number}").write_bytes(slow)
    with subprocess.Popen(
        pvefi("inspect", "--json", fifo),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as running:
        children = Path(f"/proc/{running.pid}/task/{running.pid}/children")
        end = time.monotonic() + 20
        while not children.read_text() and time.monotonic() < end:
            time.sleep(0.02)
        time.sleep(0.2)
        os.killpg(running.pid, signal.SIGINT)
        out, err = running.communicate(timeout=30)
    assert (running.returncode, out, err) == (130, "", "pvefi: interrupted\n")
    with pytest.raises(ProcessLookupError):
        os.killpg(running.pid, 0)


def test_a_real_kernel_in_json(corpus: RealFiles, capsys: Captured) -> None:
    assert main(["inspect", "--json", str(corpus.file("cloud", "boot/vmlinuz-*"))]) == 0
    (image,) = json.loads(capsys.readouterr().out)["images"]
    assert image["payload"]["compression"] == "lz4"
    assert [entry["kind"] for entry in image["entries"]][-2:] == ["pvh", "xen-pv"]
