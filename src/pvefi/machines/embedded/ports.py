# SPDX-License-Identifier: GPL-2.0-or-later
"""The I/O ports of the embedded machine: doorbell, serial console, and the timer that early code reads."""

from __future__ import annotations

import random
from collections.abc import Callable

from pvefi.guest.mailbox import DOORBELL_PORT

__all__ = ["Ports"]

# NS16550A: the first PC serial port.
_COM1 = 0x3F8
_COM1_LAST = 0x3FF
_TRANSMIT = 0
_LINE_STATUS = 5
_LINE_CONTROL = 3
_DIVISOR_ACCESS = 0x80
_TRANSMITTER_EMPTY = 0x60

# Intel 8254, read by Linux's KASLR (arch/x86/lib/kaslr.c) after a read-back command.
_PIT_CHANNEL_0 = 0x40
_PIT_COMMAND = 0x43
_PIT_READ_BACK_STATUS_AND_COUNT = 0xC0
_PIT_READ_BACK_MASK = 0xF0


class Ports:
    """Port I/O of one guest. Ports that nobody owns read as all ones, as on a PC's bus."""

    def __init__(
        self, doorbell: Callable[[], None], console: Callable[[bytes], None], seed: int | None
    ) -> None:
        self._doorbell = doorbell
        self._console = console
        self._line_control = 0
        self._timer_bytes: list[int] = []
        # Not for secrets: what an unseeded guest reads here only has to differ from boot to boot.
        self._noise = random.Random(seed) if seed is not None else random.SystemRandom()  # noqa: S311

    def write(self, port: int, size: int, value: int) -> None:
        """OUT: `size` is 1, 2 or 4 bytes."""
        if port == DOORBELL_PORT:
            self._doorbell()
        elif port == _COM1 + _TRANSMIT and not self._line_control & _DIVISOR_ACCESS:
            self._console(bytes([value & 0xFF]))
        elif port == _COM1 + _LINE_CONTROL:
            self._line_control = value & 0xFF
        elif port == _PIT_COMMAND and value & _PIT_READ_BACK_MASK == _PIT_READ_BACK_STATUS_AND_COUNT:
            count = self._noise.getrandbits(16)
            self._timer_bytes = [0, count & 0xFF, count >> 8]

    def read(self, port: int, size: int) -> int:
        """IN: return a value of `size` bytes."""
        if port == _COM1 + _LINE_STATUS:
            return _TRANSMITTER_EMPTY
        if port == _COM1 + _LINE_CONTROL:
            return self._line_control
        if _COM1 <= port <= _COM1_LAST:
            return 0
        if port == _PIT_CHANNEL_0 and self._timer_bytes:
            return self._timer_bytes.pop(0)
        return (1 << 8 * size) - 1
