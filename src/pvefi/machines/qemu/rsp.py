# SPDX-License-Identifier: GPL-2.0-or-later
"""Packets of GDB's remote serial protocol, as bytes; nothing here reads or writes.

Source: the GDB manual, "Remote Protocol", "Overview": `$payload#checksum`, `+` and `-` between packets, `}`
before an escaped byte, `*` before a repeat count.
"""

from __future__ import annotations

from pvefi.errors import MachineError

__all__ = ["ACKNOWLEDGED", "INTERRUPT", "PacketReader", "packet"]

ACKNOWLEDGED = b"+"
INTERRUPT = b"\x03"

_LARGEST = 1 << 20
"""No packet is as long as this: QEMU's PacketSize is 4 KiB."""
_ESCAPE, _REPEAT = 0x7D, 0x2A
_ESCAPED_BY = 0x20
_COUNT_FROM = 29
"""A repeat count is a printable character, 29 more than the further copies it stands for."""


def packet(payload: str) -> bytes:
    """Return the packet that carries `payload`, which needs no escapes: it is ASCII without `#$}*`."""
    data = payload.encode("ascii")
    return b"$%b#%02x" % (data, sum(data) & 0xFF)


class PacketReader:
    """Makes packets of a stream that arrives in pieces."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Take a piece of the stream and return the payloads that it completes; MachineError when garbled."""
        self._held += data
        found = []
        while (payload := self._next()) is not None:
            found.append(payload)
        return found

    def _next(self) -> bytes | None:
        start = self._held.find(b"$")
        if start < 0:
            self._held.clear()  # acknowledgements
            return None
        del self._held[:start]
        end = self._held.find(b"#")
        if end < 0 or len(self._held) < end + 3:
            if len(self._held) > _LARGEST:
                raise MachineError(f"QEMU's debugger sends a packet of more than {_LARGEST} bytes")
            return None
        raw, check = bytes(self._held[1:end]), bytes(self._held[end + 1 : end + 3])
        del self._held[: end + 3]
        if check.lower() != b"%02x" % (sum(raw) & 0xFF):
            raise MachineError(
                f"expected a packet of QEMU's debugger with checksum {sum(raw) & 0xFF:02x}, "
                f"found {check.decode('ascii', 'backslashreplace')}"
            )
        return _plain(raw)


def _plain(raw: bytes) -> bytes:
    """Return a payload without escapes and repeat counts."""
    if _ESCAPE not in raw and _REPEAT not in raw:
        return raw
    plain = bytearray()
    codes = iter(raw)
    for code in codes:
        if code == _ESCAPE:
            plain.append(next(codes, 0) ^ _ESCAPED_BY)
        elif code == _REPEAT and plain:
            plain += plain[-1:] * max(0, next(codes, _COUNT_FROM) - _COUNT_FROM)
        else:
            plain.append(code)
    return bytes(plain)
