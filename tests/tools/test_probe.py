# SPDX-License-Identifier: GPL-2.0-or-later
"""tools/probe.py: initrds are built once, for kernels that the corpus has, and console text is read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from corpus import cache_folder, library_item
from probe import main, probe_initrd
from pvefi.image.initrd import initrd_text
from tests.conftest import RealFiles, Tool


def test_an_initrd_is_built_once_and_its_path_printed(
    corpus: RealFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    for item in ("cloud", "cloud-modules", "busybox"):
        corpus.files(item)
    assert main(["path", "cloud"]) == 0
    path = Path(capsys.readouterr().out.strip())
    assert path.parent == cache_folder() / "probe"
    assert initrd_text(path.read_bytes()) == "an initrd (cpio archive)"
    written = path.stat().st_mtime_ns
    assert probe_initrd("cloud") == path
    assert path.stat().st_mtime_ns == written


def test_a_cached_initrd_that_was_cut_short_is_built_again(corpus: RealFiles) -> None:
    corpus.files("busybox")
    path = probe_initrd("any")
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    assert probe_initrd("any").read_bytes() == whole


def test_an_initrd_is_written_where_the_user_says(corpus: RealFiles, tmp_path: Path) -> None:
    corpus.files("busybox")
    assert main(["build", "any", "-o", str(tmp_path / "new" / "probe.cpio")]) == 0
    assert (tmp_path / "new" / "probe.cpio").read_bytes() == probe_initrd("any").read_bytes()


def test_programs_and_files_are_built_in_and_the_plain_initrd_stays_as_it_is(
    corpus: RealFiles, tool: Tool, tmp_path: Path
) -> None:
    plain = corpus.probe("any").read_bytes()
    corpus.probe("any", ["efivar"])
    script, built = tmp_path / "list.sh", tmp_path / "probe.cpio"
    script.write_text("efivar --list")
    words = ["--programs", "efivar", "--file", f"script/000-list={script}", "-o", str(built)]
    assert main(["build", "any", *words]) == 0
    names = subprocess.run(
        [tool("cpio"), "-it", "--quiet"], input=built.read_bytes(), capture_output=True, check=True
    ).stdout.split()
    assert {b"usr/bin/efivar", b"lib64/ld-linux-x86-64.so.2"} <= set(names)
    assert b"lib/x86_64-linux-gnu/libefivar.so.1" in names
    assert b"lib/x86_64-linux-gnu/libcrypto.so.3" not in names
    assert probe_initrd("any").read_bytes() == plain
    assert b"script/000-list\0" in built.read_bytes()


def test_every_program_of_the_corpus_finds_its_libraries_there(corpus: RealFiles, tool: Tool) -> None:
    items = ("chattr", "efibootmgr", "efitools-programs", "efivar", "kexec")
    names = subprocess.run(
        [tool("cpio"), "-it", "--quiet"],
        input=corpus.probe("any", items).read_bytes(),
        capture_output=True,
        check=True,
    ).stdout.decode()
    programs = ("bin/efibootmgr", "sbin/kexec", "usr/bin/chattr", "usr/bin/efi-readvar", "usr/bin/efivar")
    assert {*programs, "lib64/ld-linux-x86-64.so.2"} <= set(names.split())
    libraries = [name.removeprefix("lib/x86_64-linux-gnu/") for name in names.split() if ".so." in name]
    assert len(libraries) == len(set(libraries))
    assert {"libcrypto.so.3", "libe2p.so.2", "libefiboot.so.1", "libxenctrl.so.4.17"} <= set(libraries)


def test_a_library_that_no_package_of_the_corpus_has_is_one_line(
    corpus: RealFiles, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for item in ("busybox", "efivar", "libc6"):
        corpus.files(item)
    monkeypatch.setattr("probe.library_item", lambda name: None if "efivar" in name else library_item(name))
    assert main(["build", "any", "--programs", "efivar", "-o", "unused"]) == 1
    assert capsys.readouterr().err == (
        "probe: efivar: the corpus lacks the library libefivar.so.1, which usr/bin/efivar needs\n"
    )


def test_a_kernel_without_modules_in_the_corpus_is_one_line(
    corpus: RealFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus.files("busybox")
    assert main(["path", "netboot"]) == 1
    assert capsys.readouterr().err == (
        "probe: no probe for 'netboot'; there are cloud, amd64, cloud-6.12, any\n"
    )


def test_facts_of_a_console_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "console").write_bytes(
        b"PVEFI-PROBE up\r\nPVEFI-PROBE clock 0.61\r\nPVEFI-PROBE end hold\r\n"
    )
    assert main(["facts", str(tmp_path / "console")]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["boot"]["clock"] == 0.61
    assert facts["system"] is None
    assert main(["facts", str(tmp_path / "none")]) == 1
    assert capsys.readouterr().err == f"probe: {tmp_path}/none: No such file or directory\n"


def test_a_reader_that_goes_is_no_failure(tmp_path: Path) -> None:
    console = tmp_path / "console"
    console.write_bytes(b"PVEFI-PROBE up\r\nPVEFI-PROBE end hold\r\n")
    reading, writing = os.pipe()
    os.close(reading)
    tool = Path(__file__).parents[2] / "tools/probe.py"
    ended = subprocess.run(
        [sys.executable, tool, "facts", console], stdout=writing, stderr=subprocess.PIPE, check=False
    )
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (0, b"")
