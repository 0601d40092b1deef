# SPDX-License-Identifier: GPL-2.0-or-later
"""Finds the probe's lines in what a serial console said, whatever else stands around and between them.

A fact is one line with the CRC-32 of its JSON, so that a line with a kernel message within is known as
damaged and never taken for something else. So are the lines that only the witness says: its counter, and
pieces of files. The lines come from a guest: nothing is believed unchecked.
"""

from __future__ import annotations

import binascii
import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

__all__ = ["CLOCK", "END", "UP", "ProbeBoot", "probe_boots"]

UP = b"PVEFI-PROBE up"
"""The first thing that user space says; what a bench waits for."""
CLOCK = b"PVEFI-PROBE clock "
"""Then the seconds since the kernel started, as the kernel counts them."""
END = b"PVEFI-PROBE end "
"""The last line, with the word that the guest now does: poweroff, reboot, hold, ..."""

_LINE = re.compile(rb"PVEFI-PROBE (up|clock|fact|counter|file|end)\b(?: ([^\r\n]*))?")
_COUNTER = re.compile(rb"[0-9a-f]{16}")
_PIECE = re.compile(rb"(/[!-~]{1,255}) ([0-9a-f]{8}) ([0-9a-f]{8}) ([A-Za-z0-9+/]*={0,2})")
"""Path, offset, size of all that is told of the file, and base64 of the bytes from that offset on."""
_SUM_DIGITS = 8
_MAX_BODY_SIZE = 1 << 20


@dataclass(frozen=True, slots=True)
class ProbeBoot:
    """What one start of the probe's user space said.

    `clock` is None when that line is missing or damaged; `end` is None while the boot is still going on, or
    when it broke off. `facts` has the JSON object of each fact by its name; `damaged` counts the lines whose
    sum did not fit. `counter` is the CPU's time-stamp counter at the first instruction of user space, and
    `files` has what of a file was told, both from the witness alone; `broken` are files of which a part is
    lost.
    """

    clock: float | None
    end: str | None
    facts: Mapping[str, Mapping[str, object]]
    damaged: int
    counter: int | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)
    broken: tuple[str, ...] = ()


def probe_boots(console: bytes) -> tuple[ProbeBoot, ...]:
    """Return the boots whose user space came up, in their order; a guest that restarts has several."""
    starts = [match.start() for match in _LINE.finditer(console) if match[1] == b"up"]
    return tuple(_boot(console[start:stop]) for start, stop in pairwise([*starts, len(console)]))


def _boot(text: bytes) -> ProbeBoot:
    clock, end, counter, damaged = None, None, None, 0
    facts: dict[str, Mapping[str, object]] = {}
    pieces: dict[str, _Pieces] = {}
    for match in _LINE.finditer(text):
        word, rest = match[1], match[2] or b""
        if word == b"clock":
            clock = _seconds(rest)
        elif word == b"end":
            end = rest.decode("ascii", "replace").strip()
        elif word == b"up":
            continue
        elif (body := _summed(rest)) is None:
            damaged += 1
        elif word == b"counter" and _COUNTER.fullmatch(body):
            counter = int(body, 16)
        elif word == b"file" and (piece := _piece(body)) is not None:
            path, offset, size, data = piece
            pieces.setdefault(path, _Pieces(size)).data[offset] = data
        elif word == b"fact" and (fact := _fact(body)) is not None:
            facts[str(fact["fact"])] = fact
        else:
            damaged += 1
    whole = {path: one.whole() for path, one in pieces.items()}
    files = {path: data for path, data in whole.items() if data is not None}
    return ProbeBoot(clock, end, facts, damaged, counter, files, tuple(sorted(whole.keys() - files.keys())))


@dataclass(frozen=True, slots=True)
class _Pieces:
    """What has come of a file of `size` bytes, by offset."""

    size: int
    data: dict[int, bytes] = field(default_factory=dict)

    def whole(self) -> bytes | None:
        """Return the file; None when a part of it is missing."""
        found = bytearray()
        for offset, data in sorted(self.data.items()):
            if offset != len(found):
                return None
            found += data
        return bytes(found) if len(found) == self.size else None


def _seconds(text: bytes) -> float | None:
    return float(text) if re.fullmatch(rb"\d{1,9}\.\d{1,3}", text) else None


def _summed(text: bytes) -> bytes | None:
    """Return what stands behind the sum of a line; None when the sum is not that of it."""
    wanted, _, body = text.partition(b" ")
    if len(wanted) != _SUM_DIGITS or len(body) > _MAX_BODY_SIZE or wanted != b"%08x" % zlib.crc32(body):
        return None
    return body


def _fact(body: bytes) -> Mapping[str, object] | None:
    """Return the fact of a line; None when it is none."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and isinstance(value.get("fact"), str) else None


def _piece(body: bytes) -> tuple[str, int, int, bytes] | None:
    """Return path, offset, size and bytes of a piece of a file; None when it is none."""
    match = _PIECE.fullmatch(body)
    if match is None:
        return None
    try:
        data = binascii.a2b_base64(match[4], strict_mode=True)
    except binascii.Error:
        return None
    return match[1].decode("ascii"), int(match[2], 16), int(match[3], 16), data
