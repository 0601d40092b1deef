# SPDX-License-Identifier: GPL-2.0-or-later
"""A bare QEMU for tests of what speaks to one: its chardevs are ends of socket pairs."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path


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


DEBUG_PORT = 0x520
RESET_VECTOR = 16  # bytes from a firmware image's end to the CPU's first instruction
FIRMWARE_SIZE = 0x10000


def firmware(folder: Path, code: bytes) -> Path:
    """Return a file for `-bios`: 64 KiB of which `code` (16-bit, at f000:0) is all that runs."""
    image = bytearray(FIRMWARE_SIZE)
    image[: len(code)] = code
    jump = FIRMWARE_SIZE - RESET_VECTOR
    image[jump : jump + 5] = bytes.fromhex("ea000000f0")  # ljmp $0xf000, $0
    path = folder / "firmware.bin"
    path.write_bytes(image)
    return path
