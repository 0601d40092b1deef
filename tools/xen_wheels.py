# SPDX-License-Identifier: GPL-2.0-or-later
"""The wheels of pvefi's dependencies for the tests' dom0, whose Python is 3.11 whatever the host's is."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import tempfile
import time
import tomllib
import zipfile
from pathlib import Path

from corpus import CorpusError, Progress

__all__ = ["ABSENT", "requirements", "wheel_contents", "wheel_files"]

PROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"
ABSENT = ("qemu.qmp", "unicorn", "virt-firmware")
"""Dependencies of other machines and verbs: `pvefi boot --machine xen` has to do without them."""
PLATFORM = (
    *("--only-binary=:all:", "--implementation", "cp", "--python-version", "3.11"),
    *("--platform", "manylinux2014_x86_64", "--platform", "manylinux_2_28_x86_64"),
)
ATTEMPTS = 3


def requirements(project: Path = PROJECT) -> list[str]:
    """Return pvefi's dependencies, but for those that have no place in a dom0."""
    told = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["dependencies"]
    return sorted(one for one in told if re.split(r"[<>=!~ ;\[]", one)[0].lower() not in ABSENT)


def wheel_files(folder: Path) -> list[Path]:
    """Return the wheels of `requirements`, kept in `folder` with their hashes; fetched when not there."""
    wanted = requirements()
    kept = folder / hashlib.sha256(json.dumps([wanted, PLATFORM]).encode()).hexdigest()[:16]
    found = _kept(kept)
    if found is None:
        _fetch(kept, wanted)
        found = _kept(kept)
    if found is None:
        raise CorpusError(f"{kept}: the wheels are not what was fetched")
    return found


def wheel_contents(wheel: Path) -> dict[str, bytes]:
    """Return the files that a wheel installs beside each other in a folder of packages."""
    with zipfile.ZipFile(wheel) as opened:
        return {
            one.filename: opened.read(one)
            for one in opened.infolist()
            if not one.is_dir() and ".data/" not in one.filename and not one.filename.endswith(".pyi")
        }


def _kept(folder: Path) -> list[Path] | None:
    try:
        hashes = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        for name, digest in hashes.items():
            if hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest:
                return None
    except (OSError, ValueError, AttributeError):
        return None
    return [folder / name for name in sorted(hashes)]


def _fetch(folder: Path, wanted: list[str]) -> None:
    progress = Progress("xen")
    progress.say("fetching the dom0's Python packages")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".part-", dir=folder.parent) as scratch:
        part = Path(scratch) / "wheels"
        part.mkdir()
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        command += ["--no-input", "--retries", "2", "--timeout", "30", *PLATFORM, "-d", str(part), *wanted]
        for attempt in range(1, ATTEMPTS + 1):
            done = subprocess.run(
                command, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL
            )
            if not done.returncode:
                break
            if attempt == ATTEMPTS:
                reason = (done.stderr.strip().splitlines() or ["no reason"])[-1]
                raise CorpusError(f"pip cannot fetch the dom0's Python packages: {reason}")
            time.sleep(2 * attempt)
        hashes = {one.name: hashlib.sha256(one.read_bytes()).hexdigest() for one in part.iterdir()}
        (part / "manifest.json").write_text(json.dumps(hashes, indent=2, sort_keys=True) + "\n")
        if folder.exists():
            folder.rename(Path(scratch) / "replaced")
        try:
            part.rename(folder)
        except OSError:
            if not folder.is_dir():  # another process may have fetched the same meanwhile
                raise
