# SPDX-License-Identifier: GPL-2.0-or-later
"""The user's end of a guest's serial port: keys from a terminal, or what is piped in.

On a terminal, each key goes to the guest as it is typed, Ctrl-C too; Ctrl-] leaves. What is piped into pvefi,
or comes from a file, goes to the guest as it is; its end tells the guest nothing. Nothing is read where the
input is a terminal and the output is none, or where pvefi runs in the background: Ctrl-C is pvefi's then.
"""

from __future__ import annotations

import os
import signal
import termios
import threading
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Self

__all__ = ["HINT", "LEAVE", "Terminal"]

HINT = "Ctrl-] leaves"
LEAVE = b"\x1d"
"""What a terminal sends for Ctrl-]."""

_AT_ONCE = 4096
_INPUT, _LOCAL, _CONTROL = 0, 3, 6
"""Places in what `termios.tcgetattr` returns."""
_INPUT_OFF = (
    termios.BRKINT
    | termios.ICRNL
    | termios.IGNCR
    | termios.INLCR
    | termios.INPCK
    | termios.ISTRIP
    | termios.IXON
)
_LOCAL_OFF = termios.ECHO | termios.ECHONL | termios.ICANON | termios.IEXTEN | termios.ISIG


class Terminal:
    """A context manager: between enter and exit the keyboard is the guest's.

    The terminal is restored at every exit, and while the process is stopped by SIGTSTP. How it shows
    what is written stays as it is: lines still end with a mere line feed.
    """

    def __init__(self, source: int = 0, screen: int = 1) -> None:
        self._source = source
        self._typed = os.isatty(source)
        self._reads = not self._typed or (os.isatty(screen) and self._foreground())
        self._screen = screen
        self._saved: list[object] | None = None
        self._handlers: dict[signal.Signals, object] = {}

    @property
    def interactive(self) -> bool:
        """Whether somebody types at a terminal, and sees what the guest answers."""
        return self._typed and self._reads

    @property
    def patient(self) -> bool:
        """Whether what there is to read can wait until somebody reads at the guest's end."""
        return not self._typed

    @property
    def reads(self) -> bool:
        """Whether there is, or may come, something to read."""
        return self._reads

    def fileno(self) -> int:
        """Return the descriptor to wait for before `read`, where there is something to read."""
        return self._source

    def read(self) -> bytes | None:
        """Return what is there; empty when no more will come, None when the user leaves. May wait."""
        if not self._reads:
            return b""
        try:
            data = os.read(self._source, _AT_ONCE)
        except OSError:  # the terminal has gone
            data = b""
        if not data:
            self._reads = False
        return None if self._typed and LEAVE in data else data

    def __enter__(self) -> Self:
        if self.interactive:
            with suppress(OSError):
                os.write(self._screen, f"{HINT}\r\n".encode())
            self._saved = termios.tcgetattr(self._source)
            if threading.current_thread() is threading.main_thread():
                for number, handler in (
                    (signal.SIGTSTP, self._stopping),
                    (signal.SIGCONT, self._going_on),
                ):
                    self._handlers[number] = signal.signal(number, handler)
            self._raw()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._restore()
        self._saved = None
        for number, handler in self._handlers.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what signal.signal itself returned
        self._handlers.clear()

    def _foreground(self) -> bool:
        """Whether the terminal is ours to read: who reads it in the background is stopped."""
        try:
            return os.tcgetpgrp(self._source) == os.getpgrp()
        except OSError:  # not our controlling terminal: nobody is stopped
            return True

    def _raw(self) -> None:
        if self._saved is None or not self._foreground():
            return
        with suppress(termios.error):
            mode = termios.tcgetattr(self._source)
            mode[_INPUT] &= ~_INPUT_OFF
            mode[_LOCAL] &= ~_LOCAL_OFF
            mode[_CONTROL][termios.VMIN] = 1
            mode[_CONTROL][termios.VTIME] = 0
            termios.tcsetattr(self._source, termios.TCSANOW, mode)

    def _restore(self) -> None:
        if self._saved is None:
            return
        # A process that the shell has put into the background is stopped for this, but for a blocked signal.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
        try:
            with suppress(termios.error):  # the terminal has gone
                # What tcgetattr returned, which has another type than what tcsetattr takes.
                termios.tcsetattr(self._source, termios.TCSANOW, self._saved)  # type: ignore[arg-type]
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    def _stopping(self, number: int, _frame: FrameType | None) -> None:
        self._restore()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)  # stopped here, until SIGCONT
        signal.signal(number, self._stopping)
        self._raw()

    def _going_on(self, _number: int, _frame: FrameType | None) -> None:
        self._raw()
