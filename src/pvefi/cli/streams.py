# SPDX-License-Identifier: GPL-2.0-or-later
"""The process's standard streams, made fit for whatever a caller has done to them."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import TextIO

__all__ = ["flush", "one_line", "prepare", "silence"]

_STANDARD = (0, 1, 2)


def prepare() -> None:
    """Give the process streams that take any text.

    A stream that the caller closed is /dev/null: no file that is opened later must get its number. What an
    encoding lacks is spelled out.
    """
    for number in _STANDARD:
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one
    if sys.stdout is None:
        sys.stdout = _nowhere()
    if sys.stderr is None:
        sys.stderr = _nowhere()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _nowhere() -> TextIO:
    return Path(os.devnull).open("w", encoding="utf-8")


def flush() -> None:
    """Write what is left in stdout; OSError when that fails."""
    sys.stdout.flush()


def silence() -> None:
    """Keep the interpreter from writing what is left over at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def one_line(text: str) -> str:
    """Return `text` on one line, with whatever could steer a terminal spelled out."""
    line = "; ".join(part.strip() for part in text.splitlines() if part.strip())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
