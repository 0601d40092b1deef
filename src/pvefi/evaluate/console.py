# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest writes in one boot, kept within bounds: a kernel's log fits, one that never stops does not."""

from __future__ import annotations

from pvefi.serial import SerialDecoder

__all__ = ["ConsoleText"]

FIRST = 384 << 10
"""Characters kept from the start; the log of a Debian kernel takes about 60,000."""
LAST = 128 << 10
"""Characters kept from the end, once there are more: how it ended."""
SERIAL = 8 << 20
"""Bytes of the serial port kept as they are, from the start."""


class ConsoleText:
    """The text of the firmware's console and of the serial port, in the order in which it came."""

    def __init__(self) -> None:
        self._decoder = SerialDecoder()
        self._first, self._last, self._left_out = "", "", 0
        self.serial_bytes = bytearray()

    def write(self, text: str) -> None:
        """Take what the guest wrote to the firmware's console."""
        room = FIRST - len(self._first)
        self._first += text[:room]
        self._last += text[room:]
        if len(self._last) > 2 * LAST:
            self._cut()

    def serial(self, data: bytes) -> None:
        """Take what the guest wrote to its serial port."""
        self.serial_bytes += data[: SERIAL - len(self.serial_bytes)]
        self.write(self._decoder.text(data))

    def text(self) -> str:
        """Return what was kept, and where something is left out, how much."""
        self._cut()
        left_out = f"\n[... {self._left_out:,} characters left out ...]\n" if self._left_out else ""
        return f"{self._first}{left_out}{self._last}"

    def _cut(self) -> None:
        over = max(0, len(self._last) - LAST)
        self._left_out += over
        self._last = self._last[over:]
