# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest keeps: in memory, or in a file for as long as the file lasts."""

from __future__ import annotations

from pathlib import Path

import pytest

from pvefi.cli import main
from pvefi.efi.kept import Kept
from pvefi.efi.varstore.edk2 import empty_store
from pvefi.errors import UsageError
from pvefi.spec.edk2.ovmf import OVMF_2M
from tests.conftest import RealFiles
from tests.efi.varstore.flash import VENDOR, variable


def test_variables_in_a_file_are_there_for_the_next_guest(tmp_path: Path) -> None:
    path = tmp_path / "vars.fd"
    path.write_bytes(empty_store(OVMF_2M))
    kept = Kept.open(path)
    kept.variables.put(variable("A"))
    with pytest.raises(UsageError, match="found it in use"):
        Kept.open(path)
    kept.close()
    again = Kept.open(path)
    assert again.variables.get("A", VENDOR) == variable("A")
    again.close()


def test_variables_in_memory_are_there_for_one_guest_only() -> None:
    kept = Kept.open(None)
    kept.variables.put(variable("A"))
    kept.close()
    assert list(Kept.open(None).variables) == []


@pytest.mark.parametrize(
    ("contents", "words", "line"),
    [
        (None, (), "pvefi vars new makes one"),
        (b"no store", (), "expected a variable store, found 8 bytes"),
        (empty_store(OVMF_2M), ("--entry", "qemu-linux", "--machine", "qemu"), "expected no --vars"),
        (
            b"no store",
            ("--firmware", "ovmf", "--machine", "qemu"),
            "expected a variable store, found 8 bytes",
        ),
        (empty_store(OVMF_2M), ("--entry", "linux64", "--machine", "embedded"), "expected no --vars"),
    ],
)
def test_a_boot_without_a_sound_store_is_refused_before_anything_runs(
    corpus: RealFiles,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    contents: bytes | None,
    words: tuple[str, ...],
    line: str,
) -> None:
    path = tmp_path / "vars.fd"
    if contents is not None:
        path.write_bytes(contents)
    kernel = str(corpus.file("cloud", "boot/vmlinuz-*"))
    machine = words or ("--machine", "embedded")
    assert main(["boot", kernel, "--vars", str(path), *machine]) == 2
    captured = capsys.readouterr()
    assert line in captured.err
    assert captured.err.splitlines()[-1].startswith("pvefi: ")
