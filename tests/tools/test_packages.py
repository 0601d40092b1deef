# SPDX-License-Identifier: GPL-2.0-or-later
"""tools/packages.sh on machines that lack programs: root installs them, others read what to install."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "packages.sh"
PROGRAMS = {
    "binutils": ("readelf", "objdump", "as", "ld"),
    "chromium": ("chromium",),
    "cpio": ("cpio",),
    "file": ("file",),
    "lzop": ("lzop",),
    "openssl": ("openssl",),
    "qemu-system-x86": ("qemu-system-x86_64",),
    "sbsigntool": ("sbverify",),
}
OVMF = Path("/usr/share/OVMF/OVMF_CODE_4M.fd")
ALL = [*PROGRAMS, *([] if OVMF.exists() else ["ovmf"])]


@pytest.fixture
def bin_folder(tmp_path: Path) -> Path:
    """Give a PATH of one folder that has what the script itself needs, and no program of PROGRAMS."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "mktemp", "rm", "grep", "tail"):
        (folder / name).symlink_to(shutil.which(name) or "/bin/false")
    put(folder / "python3", "exit 0")
    put(folder / "sleep", "exit 0")
    return folder


def put(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def run(folder: Path, *, user: int, apt: str | None = None, ci: str = "") -> subprocess.CompletedProcess[str]:
    put(folder / "id", f"echo {user}")
    if apt is not None:
        put(folder / "apt-get", f'echo "$*" >>{folder}/log\n{apt}')
    environment = {"PATH": str(folder), "PYTHON": "python3", "CI": ci}
    return subprocess.run(
        [str(folder / "sh"), str(SCRIPT)], env=environment, capture_output=True, text=True, check=False
    )


def test_a_user_reads_what_is_missing_and_goes_on(bin_folder: Path) -> None:
    done = run(bin_folder, user=1000, apt="exit 0")
    names = " ".join(ALL)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == (
        f"packages: missing: {names} (tests that need them are skipped; as root: apt-get install {names})\n"
    )
    assert not (bin_folder / "log").exists()


def test_root_installs_what_is_missing_without_what_is_only_recommended(bin_folder: Path) -> None:
    done = run(bin_folder, user=0, apt="exit 0")
    names = " ".join(ALL)
    assert (done.returncode, done.stderr) == (0, f"packages: installing {names}\n")
    assert (bin_folder / "log").read_text() == f"install -y -q --no-install-recommends {names}\n"


def test_only_what_is_missing_is_installed(bin_folder: Path) -> None:
    for programs in (programs for name, programs in PROGRAMS.items() if name != "qemu-system-x86"):
        for program in programs:
            put(bin_folder / program, "exit 0")
    assert "installing qemu-system-x86" in run(bin_folder, user=0, apt="exit 0").stderr
    put(bin_folder / "qemu-system-x86_64", "exit 0")
    if OVMF.exists():
        done = run(bin_folder, user=0, apt="exit 1")
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("ci", "status"), [("", 0), ("true", 1)])
def test_a_failing_apt_is_one_line_and_fails_only_under_ci(bin_folder: Path, ci: str, status: int) -> None:
    done = run(bin_folder, user=0, apt="echo 'E: no network'; exit 100", ci=ci)
    assert done.returncode == status
    assert done.stderr.splitlines()[1:] == [
        f"packages: apt-get could not install {' '.join(ALL)}: E: no network"
    ]
