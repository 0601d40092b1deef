# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's serial port as pvefi sees it where QEMU must never wait for pvefi: two pipes, not a socket.

A socket holds some 270 writes of one byte. Then QEMU tries again when the host has read, at a moment that is
no other run's; and a kernel that writes its log gets that far. A pipe holds as many bytes as it has room for.
"""

from __future__ import annotations

import contextlib
import fcntl
import os

__all__ = ["PipedConsole"]

_ROOM = 1 << 20
"""Linux fs/pipe.c: what every user may ask for."""


class PipedConsole:
    """Two pipes; `theirs` are QEMU's ends: its standard output and input."""

    def __init__(self) -> None:
        self._output, written = os.pipe()
        read, self._input = os.pipe()
        self.theirs = written, read
        with contextlib.suppress(OSError):  # then it holds 64 KiB
            fcntl.fcntl(written, fcntl.F_SETPIPE_SZ, _ROOM)

    def fileno(self) -> int:
        """Return the descriptor that is readable when the guest has written."""
        return self._output

    def recv(self, size: int, /) -> bytes:
        """Return what the guest has written; see `Console`."""
        return os.read(self._output, size)

    def send(self, data: bytes | bytearray, /) -> int:
        """Give the guest input; see `Console`."""
        return os.write(self._input, data)

    def setblocking(self, flag: bool, /) -> None:
        """Have both wait, or not."""
        os.set_blocking(self._output, flag)
        os.set_blocking(self._input, flag)

    def close(self) -> None:
        """Close both of our ends."""
        os.close(self._output)
        os.close(self._input)
