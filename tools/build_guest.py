#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Assembles and links the code that runs in guests: trampoline.elf, speed.bin (a flat image), witness.elf."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent / "src" / "pvefi"
GUEST = _PACKAGE / "guest"
PROBE = _PACKAGE / "probe"
_LINK = (
    "ld",
    *("-m", "elf_x86_64"),
    *("-z", "max-page-size=4096"),
    "--build-id=none",
    "--no-warn-rwx-segments",  # the boot part is gone after ExitBootServices
)


def build(target: Path) -> None:
    """Write the linked trampoline to `target`; CalledProcessError when as or ld refuse."""
    _build(GUEST / "trampoline", target)


def build_speed(target: Path) -> None:
    """Write the guest that measures a machine to `target`: the last 256 bytes below 4 GiB, as they are."""
    _build(GUEST / "speed", target, "--oformat", "binary")
    target.chmod(0o644)


def build_witness(target: Path) -> None:
    """Write the static program to `target` that the initrd of `pvefi.probe.witness` starts."""
    _build(PROBE / "witness", target, "--strip-all")
    target.chmod(0o644)


def _build(source: Path, target: Path, *options: str) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        object_file = Path(scratch) / f"{source.name}.o"
        subprocess.run(["as", "--64", "-o", object_file, source.with_suffix(".S")], check=True)
        script = source.with_suffix(".lds")
        subprocess.run([*_LINK, *options, "-T", script, "-o", target, object_file], check=True)


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    build((folder or GUEST) / "trampoline.elf")
    build_speed((folder or GUEST) / "speed.bin")
    build_witness((folder or PROBE) / "witness.elf")
