# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs that take QEMU's place."""

from __future__ import annotations

from pathlib import Path

from pvefi.machines.qemu.command import MachineType, QemuOptions
from pvefi.machines.qemu.installation import Installation, Version
from pvefi.machines.qemu.machine import QemuMachine

VERSION_TEXT = "QEMU emulator version 8.2.1 (made)\nCopyright (c) nobody"


def fake_qemu(folder: Path, body: str = "", *, version: str = VERSION_TEXT) -> Path:
    """Write a script that tells `version` when asked, and else does what `body` says."""
    program = folder / "qemu-system-x86_64"
    program.write_text(f'#!/bin/sh\nif [ "$1" = --version ]; then\necho "{version}"\nexit 0\nfi\n{body}\n')
    program.chmod(0o755)
    return program


def installed(program: Path) -> Installation:
    """Return `program` as what `find_qemu` makes of it, without asking it."""
    return Installation(program, Version(8, 2, 1), "8.2.1 (made)")


def machine_of(
    program: str, machine_type: MachineType = MachineType.Q35, *, exact: bool = False, patience: float = 30.0
) -> QemuMachine:
    """Return QEMU as it runs everywhere: by TCG, started by qboot where that is installed."""
    has_qboot = machine_type is not MachineType.MICROVM and Path("/usr/share/qemu/qboot.rom").is_file()
    firmware = "qboot.rom" if has_qboot else ""
    options = QemuOptions(program, machine_type, firmware=firmware, exact=exact)
    return QemuMachine(options, patience=patience)
