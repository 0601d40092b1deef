#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Assembles and links the guest code of src/pvefi/guest: trampoline.elf, and speed.bin, a flat image."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

GUEST = Path(__file__).resolve().parent.parent / "src" / "pvefi" / "guest"
_LINK = (
    "ld",
    *("-m", "elf_x86_64"),
    *("-z", "max-page-size=4096"),
    "--build-id=none",
    "--no-warn-rwx-segments",  # the boot part is gone after ExitBootServices
)


def build(target: Path) -> None:
    """Write the linked trampoline to `target`; CalledProcessError when as or ld refuse."""
    _build("trampoline", target)


def build_speed(target: Path) -> None:
    """Write the guest that measures a machine to `target`: the last 256 bytes below 4 GiB, as they are."""
    _build("speed", target, "--oformat", "binary")
    target.chmod(0o644)


def _build(name: str, target: Path, *options: str) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        object_file = Path(scratch) / f"{name}.o"
        subprocess.run(["as", "--64", "-o", object_file, GUEST / f"{name}.S"], check=True)
        script = GUEST / f"{name}.lds"
        subprocess.run([*_LINK, *options, "-T", script, "-o", target, object_file], check=True)


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else GUEST
    build(folder / "trampoline.elf")
    build_speed(folder / "speed.bin")
