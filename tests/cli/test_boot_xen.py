# SPDX-License-Identifier: GPL-2.0-or-later
"""`pvefi boot --machine xen` where there is no Xen: one line and a status for everything that is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from pvefi.cli import main
from pvefi.cli.status import ExitStatus
from pvefi.machines.xen.host import on_xen
from tests.build.bzimage import build_bzimage

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def without_xen() -> None:
    """Pass over a host on which all this would be done."""
    if on_xen():
        pytest.skip("this host runs on Xen")


@pytest.fixture
def image(tmp_path: Path) -> str:
    path = tmp_path / "vmlinuz"
    path.write_bytes(build_bzimage())
    return str(path)


def refused(capsys: Captured, *words: str) -> tuple[int, str]:
    status = main(["boot", *words])
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("pvefi: ")
    assert shown.err.count("\n") == 1
    return status, shown.err


@pytest.mark.parametrize("entry", ["efi", "pvh", "xen-pvh", "xen-pv", "all"])
def test_a_host_without_xen_is_told_with_the_way_out(capsys: Captured, image: str, entry: str) -> None:
    status, line = refused(capsys, "--machine", "xen", "--entry", entry, image)
    assert status == ExitStatus.NO_MACHINE
    assert "this host does not run on Xen (" in line


@pytest.mark.parametrize("entry", ["xen-pvh", "xen-pv"])
def test_xen_s_own_entries_mean_xen(capsys: Captured, image: str, entry: str) -> None:
    assert "does not run on Xen" in refused(capsys, "--entry", entry, image)[1]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("--machine", "xen", "--until", "handoff"), "stops at the hand-off, found xen"),
        (("--machine", "xen", "--accel", "tcg"), "no option of QEMU's, found one with --machine xen"),
        (("--machine", "xen", "--cpu", "max"), "no option of QEMU's"),
        (("--machine", "xen", "--qemu-arg", "-S"), "no option of QEMU's"),
        (("--machine", "xen", "--deterministic"), "no option of QEMU's"),
        (("--machine", "xen", "--keep-guest"), "--keep-guest expects"),
        (("--machine", "qemu", "--xl-set", "a=1"), "no option of Xen's, found one with --machine qemu"),
        (("--machine", "embedded", "--xl-set", "a=1"), "no option of Xen's"),
        (("--machine", "qemu", "--xl-config", "/nowhere.cfg"), "no option of Xen's"),
        (("--xl-set", "tsc_mode=native"), "--xl-set:1: expected a string in quotes"),
        (("--xl-config", "/nowhere.cfg"), "/nowhere.cfg"),
        (("--machine", "embedded", "--entry", "xen-pv"), "--machine"),
    ],
)
def test_what_xen_cannot_is_refused(capsys: Captured, image: str, words: tuple[str, ...], found: str) -> None:
    status, line = refused(capsys, *words, image)
    assert status == ExitStatus.BAD_INPUT
    assert found in line


def test_a_configuration_of_another_kind_is_refused(capsys: Captured, tmp_path: Path) -> None:
    file = tmp_path / "hvm.cfg"
    file.write_text('type = "hvm"\nkernel = "x"\n')
    status, line = refused(capsys, "--xl-config", str(file))
    assert status == ExitStatus.BAD_INPUT
    assert 'expected type "pvh", found "hvm"' in line


@pytest.mark.parametrize("machine", ["embedded", "xen"])
def test_an_image_has_to_come_from_somewhere(capsys: Captured, machine: str) -> None:
    status, line = refused(capsys, "--machine", machine)
    assert status == ExitStatus.BAD_INPUT
    assert "expected an image to boot, found none" in line
