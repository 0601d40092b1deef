# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes exceptions of SIGTERM and SIGHUP, so that guests end and terminals are restored."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Terminated", "terminable"]

_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


class Terminated(BaseException):
    """The process was told to end, by `signal`; no code but the command line's end may catch it for good."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.signal = signal.Signals(number)


@contextmanager
def terminable() -> Iterator[None]:
    """Raise Terminated in the main thread at the first SIGTERM or SIGHUP; further ones wait for the end.

    One that the caller ignores, as under nohup, stays ignored. Other threads have no signals: no effect.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    told = False
    owner = os.getpid()

    def end(number: int, _frame: FrameType | None) -> None:
        nonlocal told
        if os.getpid() != owner:  # a process that was forked from this one: it has nothing to put in order
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif not told:
            told = True
            raise Terminated(number)

    before = {
        number: signal.signal(number, end)
        for number in _SIGNALS
        if signal.getsignal(number) is signal.SIG_DFL
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
