#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Assembles and links src/pvefi/guest/trampoline.S into the trampoline.elf that the package carries."""

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
    with tempfile.TemporaryDirectory() as scratch:
        object_file = Path(scratch) / "trampoline.o"
        subprocess.run(["as", "--64", "-o", object_file, GUEST / "trampoline.S"], check=True)
        subprocess.run([*_LINK, "-T", GUEST / "trampoline.lds", "-o", target, object_file], check=True)


if __name__ == "__main__":
    build(Path(sys.argv[1]) if len(sys.argv) > 1 else GUEST / "trampoline.elf")
