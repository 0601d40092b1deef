# SPDX-License-Identifier: GPL-2.0-or-later
"""A bare QEMU for tests of what speaks to one: its chardevs are ends of socket pairs."""

from __future__ import annotations

import signal
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.build.elf import XEN_PHYS32_ENTRY, Load, build_elf, note


@dataclass
class StartedQemu:
    """The process, and our ends of its chardevs by their id."""

    process: subprocess.Popen[bytes]
    ends: dict[str, socket.socket] = field(default_factory=dict)

    def freeze(self) -> None:
        """Let it answer nothing, as while its main loop waits for a device."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)


@contextmanager
def started_qemu(path: str, *words: str, chardevs: tuple[str, ...]) -> Iterator[StartedQemu]:
    """Run QEMU with `words`; it ends with the block."""
    ours, theirs, command = {}, [], [path, "-no-user-config", "-nodefaults", "-display", "none", *words]
    for name in chardevs:
        ours[name], their = socket.socketpair()
        theirs.append(their)
        command += ["-chardev", f"socket,id={name},fd={their.fileno()}"]
    process = subprocess.Popen(
        command, pass_fds=[their.fileno() for their in theirs], stdin=subprocess.DEVNULL
    )
    for their in theirs:
        their.close()
    try:
        yield StartedQemu(process, ours)
    finally:
        process.kill()
        process.wait()
        for end in ours.values():
            end.close()


START = 0x800000
"""Where a kernel that a test makes stands and starts (guest physical)."""


def kernel(folder: Path, code: bytes) -> Path:
    """Return a file for `-kernel` whose code QEMU starts at START, in 32-bit protected mode."""
    path = folder / "kernel.elf"
    load = Load(code, START, START)
    path.write_bytes(build_elf([load], note("Xen", XEN_PHYS32_ENTRY, struct.pack("<I", START)), entry=START))
    return path
