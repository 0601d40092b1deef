# SPDX-License-Identifier: GPL-2.0-or-later
"""A domain's console as pvefi sees it: the terminal that xenconsoled serves for it."""

from __future__ import annotations

import errno
import os
import termios
import time
import tty
from pathlib import Path

from pvefi.errors import MachineError
from pvefi.machines.readiness import Readiness, is_ready
from pvefi.machines.serial_port import SerialPort
from pvefi.machines.xen.xenstore import Xenstore

__all__ = ["XenConsole", "hear_last_words", "open_console"]

_QUIET = 0.5
"""Seconds that the terminal of a guest that has ended may be quiet before all that it wrote is there.

xenconsoled takes what is in the guest's ring at an event, and of these no more than 30 in 200 ms
(tools/console/daemon/io.c, RATE_LIMIT_ALLOWANCE and RATE_LIMIT_PERIOD).
"""
_LAST_WORDS = 5.0
"""Seconds at most for them: a terminal may have other writers."""

_SECONDS = 10.0
"""How long xenconsoled may take to find a new domain."""


class XenConsole:
    """A descriptor of the terminal, in the form of a socket; it is not this one's to close."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def fileno(self) -> int:
        """Return the descriptor that is readable when the guest has written."""
        return self._descriptor

    def recv(self, size: int, /) -> bytes:
        """Return what the guest has written, empty when its domain is gone; BlockingIOError for not yet."""
        try:
            return os.read(self._descriptor, size)
        except OSError as error:
            if error.errno == errno.EIO:  # xenconsoled has closed its end
                return b""
            raise

    def send(self, data: bytes | bytearray, /) -> int:
        """Give the guest input and return how much of it was taken; BlockingIOError for none."""
        return os.write(self._descriptor, data)

    def setblocking(self, flag: bool, /) -> None:
        """Have both wait, or not."""
        os.set_blocking(self._descriptor, flag)

    def close(self) -> None:
        """Leave the descriptor to the domain."""


def open_console(domid: int, root: Path = Path("/"), seconds: float = _SECONDS) -> int:
    """Return a descriptor of the domain's console: what the guest writes is read, what is written it reads.

    It does not block. What the guest wrote before is there: xenconsoled keeps the terminal open, and keeps
    what does not fit into it. MachineError when xenconsoled does not serve the domain.
    """
    entry = f"/local/domain/{domid}/console/tty"
    end = time.monotonic() + seconds
    with Xenstore.open(root) as store:
        store.watch(entry)
        while not (name := store.read(entry)):
            if not store.wait(end - time.monotonic()):
                raise MachineError(
                    f"domain {domid} has no console after {seconds:g} s", "start xenconsoled in dom0"
                )
            for _ in store.events():
                pass
    try:
        descriptor = os.open(name, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise MachineError(f"{name}, the console of domain {domid}: {error.strerror}") from error
    try:
        tty.setraw(descriptor, termios.TCSANOW)  # what is there already is not to be dropped
    except termios.error as error:
        os.close(descriptor)
        raise MachineError(
            f"{name}, the console of domain {domid}: expected a terminal, found none"
        ) from error
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def hear_last_words(console: int, serial: SerialPort, readiness: Readiness) -> None:
    """Wait for all that a guest that has ended wrote, and pass it on; call it before the domain is destroyed.

    Then xenconsoled would drop what it has not taken yet.
    """
    end = time.monotonic() + _LAST_WORDS
    while console in readiness and time.monotonic() < end and is_ready(console, _QUIET):
        serial.drain()
