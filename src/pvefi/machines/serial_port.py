# SPDX-License-Identifier: GPL-2.0-or-later
"""The host's end of a guest's serial port: text comes out of it, keys go in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from pvefi.machines.machine import Keyboard
from pvefi.machines.readiness import Readiness, is_ready

__all__ = ["Console", "SerialPort"]

_CHUNK = 65536
_CHUNKS = 64  # of text at most, when a run ends: more than a socket holds


class Console(Protocol):
    """What of a socket is used."""

    def fileno(self) -> int:
        """Return the descriptor that is readable when the guest has written."""
        ...

    def recv(self, size: int, /) -> bytes:
        """Return what the guest has written, empty when it has ended; BlockingIOError for not yet."""
        ...

    def send(self, data: bytes | bytearray, /) -> int:
        """Give the guest input and return how much of it was taken; BlockingIOError for none."""
        ...

    def setblocking(self, flag: bool, /) -> None:
        """Have both wait, or not."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class SerialPort:
    """What is behind a guest's serial port.

    `console` gets what the guest writes. What `keyboard` has is held, for whoever takes it by `take`, until
    `listen`; from then on it goes to the guest as fast as that takes it. `leave` is called when the user
    leaves.
    """

    def __init__(
        self,
        connection: Console,
        readiness: Readiness,
        console: Callable[[bytes], None],
        keyboard: Keyboard | None,
        leave: Callable[[], None],
    ) -> None:
        connection.setblocking(False)
        self._connection = connection
        self._readiness = readiness
        self._console = console
        self._keyboard = keyboard
        self._leave = leave
        self._typed = bytearray()
        self._typing_ended = keyboard is None
        self._listens = False
        readiness.watch(connection.fileno(), self._ready)
        self._hear()

    def disconnect(self) -> None:
        """Pass on what a guest has written that is about to go; nobody looks at its connection afterwards."""
        self.drain()
        self._readiness.forget(self._connection.fileno())

    def connect(self, connection: Console) -> None:
        """Go on with the guest that has taken the place of the one before; what is typed is held again."""
        connection.setblocking(False)
        self._connection = connection
        self._listens = False
        self._readiness.watch(connection.fileno(), self._ready)

    def listen(self) -> None:
        """Give the guest what there is to read, from now on."""
        self._listens = True
        self._send()

    def hold(self) -> None:
        """Hold what is typed, as before `listen`."""
        self._listens = False
        self._readiness.watch_writing(self._connection.fileno(), wanted=False)

    def take(self) -> bytes | None:
        """Return what was typed and is held, and hold it no longer; None when there will never be more."""
        self.hear()
        if self._listens or (self._typing_ended and not self._typed):
            return None
        typed = bytes(self._typed)
        self._typed.clear()
        self._hear()
        return typed

    def hear(self) -> None:
        """Look, without waiting, whether something was typed."""
        if self._keyboard is None or self._keyboard.fileno() not in self._readiness:
            return
        if is_ready(self._keyboard.fileno(), 0):
            self._keys()

    def _hear(self) -> None:
        """Be told of what is typed, as long as there is room for it."""
        if self._keyboard is not None and not self._typing_ended and len(self._typed) <= _CHUNK:
            descriptor = self._keyboard.fileno()
            if descriptor not in self._readiness:
                self._readiness.watch(descriptor, self._keys)

    def drain(self) -> None:
        """Pass on all that the guest has written so far."""
        for _ in range(_CHUNKS):
            if self._connection.fileno() not in self._readiness or not self._read():
                return

    def _ready(self) -> None:
        if self._typed and self._listens:
            self._send()
        self._read()

    def _read(self) -> bool:
        """Pass on some of what the guest has written; whether there was anything."""
        try:
            data = self._connection.recv(_CHUNK)
        except BlockingIOError:
            return False
        except ConnectionError:
            data = b""
        if data:
            self._console(data)
        else:
            self._readiness.forget(self._connection.fileno())
        return bool(data)

    def _keys(self) -> None:
        assert self._keyboard is not None
        typed = self._keyboard.read()
        if typed is None:
            self._leave()
            return
        self._typed += typed
        self._typing_ended = not typed
        if self._typing_ended or len(self._typed) > _CHUNK:
            self._readiness.forget(self._keyboard.fileno())
        if self._listens:
            self._send()

    def _send(self) -> None:
        """Give the guest what it takes, and be told when it takes more."""
        try:
            sent = self._connection.send(self._typed) if self._typed else 0
        except BlockingIOError:
            sent = 0
        except OSError:  # nobody reads any more: what that means, the process's end tells
            sent = len(self._typed)
        del self._typed[:sent]
        self._readiness.watch_writing(self._connection.fileno(), wanted=bool(self._typed))
        self._hear()
