# SPDX-License-Identifier: GPL-2.0-or-later
"""Shows a guest's text while it runs, and on a terminal a line of progress below it."""

from __future__ import annotations

import re
import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner

from pvefi.serial import SerialDecoder, visible

__all__ = ["GuestConsole"]

_SEQUENCE = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)|[ -/]+[0-~]|[0-OQ-WYZ\\`-~])"
)
"""Control sequences, control strings, and other escapes (ECMA-48; xterm ends strings by BEL)."""
_MOVE = re.compile(r"\x1b\[[0-9;]*[HJ]")
_UNFINISHED = re.compile(r"\x1b(?:\[[0-?]{0,64}[ -/]{0,8}|[ -/]{0,8}|[]PX^_][^\x07\x1b\n]{0,1024}\x1b?)\Z")
"""The start of a sequence of which the rest may come; longer than any that is one."""
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")

_AS_IT_WAS = "\x1b[0m\x1b(B\x1b[?25h\x1b[?7h\x1b7\x1b[r\x1b8\x1b[J"
"""Colours, character set, cursor, wrapping, scrolling as usual (ECMA-48, DEC VT); nothing below it."""


class GuestConsole:
    """A context manager around a boot.

    Text goes to stdout, or to stderr when stdout is for a document. In a pipe it is plain, without colours
    and cursor movements. A guest that moves the cursor gets the whole terminal, without a progress line; an
    `interactive` one, at which somebody types, from its first character on.
    """

    def __init__(self, *, to_stderr: bool, interactive: bool = False) -> None:
        self._interactive = interactive
        self._stream = sys.stderr if to_stderr else sys.stdout
        self._terminal = self._stream.isatty()
        self._stage = ""
        self._began = time.monotonic()
        self._partial = ""
        self._decoder = SerialDecoder()
        self._unfinished = ""
        self._live: Live | None = None
        self._last = "\n"
        self._steered = False

    def __enter__(self) -> Self:
        if self._terminal or sys.stderr.isatty():
            stream = self._stream if self._terminal else sys.stderr
            spinner = "dots" if stream.encoding.lower().startswith("utf") else "line"
            self._live = Live(
                console=Console(file=stream),
                get_renderable=lambda: Spinner(spinner, text=self._progress()),
                transient=True,
                refresh_per_second=8,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._stop_progress()
        if self._steered:
            self._put(_AS_IT_WAS)
        self._put(visible(self._decoder.text(b"", final=True) + self._unfinished))
        self._unfinished = ""
        if self._last != "\n":
            self._put("\n")

    def stage(self, name: str) -> None:
        """Say what the boot is at, on the line of progress."""
        self._stage = name

    def serial(self, data: bytes) -> None:
        """Show what the guest wrote to its serial port; whoever types at it gets every byte as it is."""
        if not self._interactive:
            text = self._decoder.text(data)
            if self._terminal:
                self.write(visible(text))
            else:
                self._put(visible(self._plain(text)))
            return
        self._stop_progress()
        self._steered = self._steered or b"\x1b" in data
        self._stream.flush()
        self._stream.buffer.write(data)
        self._stream.flush()
        self._last = chr(data[-1]) if data else self._last

    def write(self, text: str) -> None:
        """Show what the guest wrote."""
        if not self._terminal:
            self._put(self._plain(text))
            return
        if self._interactive and text:
            self._stop_progress()
        if self._live is not None and _SEQUENCE.search(_COLOUR.sub("", text)):
            self._stop_progress()
        if self._live is None:
            self._put(text)
            return
        lines = (self._partial + text).split("\n")
        self._partial = lines.pop()
        if lines:
            self._live.console.out("\n".join(line.rstrip("\r") for line in lines), highlight=False)

    def _plain(self, text: str) -> str:
        """Return `text` for a pipe: no colours, and a new line where the cursor would go elsewhere."""
        text, self._unfinished = self._unfinished + text, ""
        if unfinished := _UNFINISHED.search(text):
            text, self._unfinished = text[: unfinished.start()], unfinished[0]
        moved = _MOVE.split(text)
        parts = [_SEQUENCE.sub("", part).replace("\r", "") for part in moved]
        plain, last = parts[0], (parts[0] or self._last)[-1]
        for part in parts[1:]:
            plain += part if last == "\n" else f"\n{part}"
            last = part[-1] if part else "\n"
        return plain

    def _progress(self) -> str:
        tail = f" | {_SEQUENCE.sub('', self._partial)}" if self._partial else ""
        return f"{self._stage}, {time.monotonic() - self._began:.1f} s{tail}"

    def _stop_progress(self) -> None:
        if self._live is None:
            return
        self._live.stop()
        self._live = None
        if self._partial:
            self._put(self._partial)
            self._partial = ""

    def _put(self, text: str) -> None:
        if text:
            self._stream.write(text)
            self._stream.flush()
            self._last = text[-1]
