# SPDX-License-Identifier: GPL-2.0-or-later
"""Finds the probe's lines in what a serial console said, whatever else stands around and between them.

A fact is one line with the CRC-32 of its JSON, so that a line with a kernel message within is known as
damaged and never taken for something else. The lines come from a guest: nothing is believed unchecked.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

__all__ = ["CLOCK", "END", "UP", "ProbeBoot", "probe_boots"]

UP = b"PVEFI-PROBE up"
"""The first thing that user space says; what a bench waits for."""
CLOCK = b"PVEFI-PROBE clock "
"""Then the seconds since the kernel started, as the kernel counts them."""
END = b"PVEFI-PROBE end "
"""The last line, with the word that the guest now does: poweroff, reboot, hold, ..."""

_LINE = re.compile(rb"PVEFI-PROBE (up|clock|fact|end)\b(?: ([^\r\n]*))?")
_SUM_DIGITS = 8
_MAX_FACT_SIZE = 1 << 20


@dataclass(frozen=True, slots=True)
class ProbeBoot:
    """What one start of the probe's user space said.

    `clock` is None when that line is missing or damaged; `end` is None while the boot is still going on, or
    when it broke off. `facts` has the JSON object of each fact by its name; `damaged` counts the lines whose
    sum did not fit.
    """

    clock: float | None
    end: str | None
    facts: Mapping[str, Mapping[str, object]]
    damaged: int


def probe_boots(console: bytes) -> tuple[ProbeBoot, ...]:
    """Return the boots whose user space came up, in their order; a guest that restarts has several."""
    starts = [match.start() for match in _LINE.finditer(console) if match[1] == b"up"]
    return tuple(_boot(console[start:stop]) for start, stop in pairwise([*starts, len(console)]))


def _boot(text: bytes) -> ProbeBoot:
    clock, end, damaged = None, None, 0
    facts: dict[str, Mapping[str, object]] = {}
    for match in _LINE.finditer(text):
        word, rest = match[1], match[2] or b""
        if word == b"clock":
            clock = _seconds(rest)
        elif word == b"end":
            end = rest.decode("ascii", "replace").strip()
        elif word == b"fact":
            fact = _fact(rest)
            if fact is None:
                damaged += 1
            else:
                facts[str(fact["fact"])] = fact
    return ProbeBoot(clock, end, facts, damaged)


def _seconds(text: bytes) -> float | None:
    return float(text) if re.fullmatch(rb"\d{1,9}\.\d{1,3}", text) else None


def _fact(text: bytes) -> Mapping[str, object] | None:
    """Return the fact of a line; None when its sum does not fit, or when it is none."""
    wanted, _, body = text.partition(b" ")
    if len(wanted) != _SUM_DIGITS or len(body) > _MAX_FACT_SIZE or wanted != b"%08x" % zlib.crc32(body):
        return None
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and isinstance(value.get("fact"), str) else None
