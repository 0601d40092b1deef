# SPDX-License-Identifier: GPL-2.0-or-later
"""Finds the QEMU of this host: where it is, which version, and what it was built with.

Every question costs one run of the program, about 15 ms; nothing is asked that nobody wants to know.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pvefi.errors import MachineError
from pvefi.machines.qemu.child import run
from pvefi.machines.qemu.packages import QEMU, installing

__all__ = [
    "OLDEST",
    "Installation",
    "Version",
    "accelerators",
    "data_files",
    "find_qemu",
    "machine_types",
    "require_machine_type",
]

_NAMES = ("qemu-system-x86_64", "qemu-kvm", "/usr/libexec/qemu-kvm")
"""What distributions call the program; the last two are RHEL's, whose QEMU is for x86-64 only."""

_SECONDS = 5.0
"""How long QEMU may take for an answer: it takes 15 ms, and longer from a cold disk."""

_VERSION = re.compile(
    r"^QEMU emulator version (?P<text>(?P<major>\d+)\.(?P<minor>\d+)(?:\.(?P<micro>\d+))?.*)$", re.MULTILINE
)


@dataclass(frozen=True, order=True)
class Version:
    """A version of QEMU."""

    major: int
    minor: int
    micro: int = 0

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.micro}"


OLDEST = Version(7, 2)
"""The oldest QEMU that pvefi is tested with."""


@dataclass(frozen=True)
class Installation:
    """A QEMU that can be run; `version_text` is the version as its packager spells it."""

    program: Path
    version: Version
    version_text: str


def find_qemu(asked: str | None = None, seconds: float = _SECONDS) -> Installation:
    """Return the QEMU of this host, or the one that the user asked for: a path, or a name on PATH.

    MachineError when there is none, when it is none, or when it is too old.
    """
    program = _locate(asked)
    ended = run([str(program), "--version"], seconds)
    match = _VERSION.search(ended.output)
    if ended.status != 0:
        raise MachineError(f"{program} cannot be used: {ended.problem}", _way_out(asked))
    if match is None:
        found = ended.first_line[:60] or "nothing"
        raise MachineError(
            f"{program}: expected a QEMU that tells its version, found {found}", _way_out(asked)
        )
    version = Version(int(match["major"]), int(match["minor"]), int(match["micro"] or 0))
    if version < OLDEST:
        oldest = f"{OLDEST.major}.{OLDEST.minor}"
        raise MachineError(
            f"{program}: expected QEMU {oldest} or later, found {version}",
            "give a newer one by --qemu FILE, or take --machine embedded",
        )
    return Installation(program, version, match["text"].strip())


def _locate(asked: str | None) -> Path:
    """Return the path of the program; MachineError when it is not there or cannot be executed."""
    for name in _NAMES if asked is None else (asked,):
        if found := shutil.which(name):
            return Path(found).absolute()
    if asked is None:
        raise MachineError("no QEMU found: no qemu-system-x86_64 on PATH", installing(QEMU))
    path = Path(asked)
    if path.is_dir():
        raise MachineError(f"{asked}: expected the program qemu-system-x86_64, found a directory")
    if os.sep in asked and path.exists():
        raise MachineError(f"{asked}: expected a program, found a file that cannot be executed")
    where = "there is no such file" if os.sep in asked else "there is no such program on PATH"
    raise MachineError(f"{asked}: {where}", f"{installing(QEMU)}, or give its path by --qemu FILE")


def _way_out(asked: str | None) -> str:
    return "give another one by --qemu FILE" if asked is None else f"leave out --qemu, or {installing(QEMU)}"


def machine_types(qemu: Installation, seconds: float = _SECONDS) -> frozenset[str]:
    """Return the names that `-machine` takes, such as "q35", "pc-q35-7.2" and "microvm"."""
    return _names(qemu, "-machine", seconds)


def accelerators(qemu: Installation, seconds: float = _SECONDS) -> frozenset[str]:
    """Return what QEMU was built with, such as "tcg" and "kvm"; what is built in need not work."""
    return _names(qemu, "-accel", seconds)


def _names(qemu: Installation, option: str, seconds: float) -> frozenset[str]:
    """Return the first word of each line that QEMU answers, after the title, when asked for help."""
    ended = run([str(qemu.program), option, "help"], seconds)
    if ended.status != 0:
        raise MachineError(f"{qemu.program} {option} help failed: {ended.problem}")
    return frozenset(line.split()[0] for line in ended.output.splitlines()[1:] if line.strip())


def data_files(qemu: Installation, names: Sequence[str], seconds: float = _SECONDS) -> dict[str, Path]:
    """Return those of `names`, such as "qboot.rom", that QEMU has in its data folders, with their paths."""
    ended = run([str(qemu.program), "-L", "help"], seconds)
    if ended.status != 0:
        raise MachineError(f"{qemu.program} -L help failed: {ended.problem}")
    folders = [Path(line) for line in ended.output.splitlines() if line]
    places = ((name, folder / name) for folder in reversed(folders) for name in names)
    return {name: path.resolve() for name, path in places if path.is_file()}


def require_machine_type(qemu: Installation, name: str) -> None:
    """Do nothing when `qemu` has the machine type `name`; MachineError when it lacks it."""
    if name not in (known := machine_types(qemu)):
        usual = [known_name for known_name in ("q35", "pc", "microvm") if known_name in known]
        instead = f"it has {', '.join(usual)}" if usual else "it is not a QEMU for x86-64"
        raise MachineError(f"{qemu.program} has no machine {name}", instead)
