# SPDX-License-Identifier: GPL-2.0-or-later
"""A client of xenstored, the directory of what runs on a Xen host.

It speaks the protocol itself (xen/include/public/io/xs_wire.h): libxenstore waits for an answer without end,
and starts a thread for watches. The way is the one of libxenstore: the daemon's socket, or where xenstored
runs in a domain of its own, the kernel's /dev/xen/xenbus.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from pvefi.errors import MachineError
from pvefi.spec.xen.xenstore import PAYLOAD_AT_MOST, XenstoreHeader, XenstoreMessage

__all__ = ["Xenstore"]

_SOCKET = "run/xenstored/socket"
_DEVICE = "dev/xen/xenbus"
_SECONDS = 5.0
"""How long xenstored may take to answer: it is one process, and busy while a domain is being made."""
_CHUNK = 65536
_WAY_OUT = "look at xenstored: systemctl status xenstored; it cannot be restarted while domains run"


class Xenstore:
    """One connection. Paths are absolute; what is read is text.

    Nothing waits for longer than `seconds`. MachineError when xenstored has gone or does not answer.
    """

    def __init__(self, descriptor: int, seconds: float = _SECONDS) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._seconds = seconds
        self._received = bytearray()
        self._events: deque[str] = deque()
        self._requests = 0
        self._closed = False

    @classmethod
    def open(cls, root: Path = Path("/"), seconds: float = _SECONDS) -> Self:
        """Connect, and see that it answers; `root` is where the file system begins."""
        store = cls(_connected(root, seconds), seconds)
        try:
            store.directory("/")
        except BaseException:
            store.close()
            raise
        return store

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, path: str) -> str | None:
        """Return what stands at `path`, None for no such entry."""
        told = self._ask(XenstoreMessage.READ, path.encode() + b"\0")
        return None if told is None else told.decode("utf-8", "replace")

    def directory(self, path: str) -> tuple[str, ...]:
        """Return the names below `path`, none where there is no such entry."""
        told = self._ask(XenstoreMessage.DIRECTORY, path.encode() + b"\0") or b""
        return tuple(name.decode("utf-8", "replace") for name in told.split(b"\0") if name)

    def watch(self, path: str) -> None:
        """Have an event whenever `path`, or what is below it, changes; and one at once."""
        self._ask(XenstoreMessage.WATCH, path.encode() + b"\0" + path.encode() + b"\0")

    def fileno(self) -> int:
        """Return the descriptor that is readable when an event may have come."""
        return self._descriptor

    def events(self) -> Iterator[str]:
        """Take the paths whose watches have fired, without waiting."""
        while self._receive(0):
            self._set_aside()
        self._set_aside()
        while self._events:
            yield self._events.popleft()

    def wait(self, seconds: float) -> bool:
        """Wait at most `seconds` for an event; whether there is one."""
        end = time.monotonic() + seconds
        self._set_aside()
        while not self._events and (left := end - time.monotonic()) > 0:
            self._receive(left)
            self._set_aside()
        return bool(self._events)

    def _set_aside(self) -> None:
        """Take what is complete of what was received; replies that nobody waits for any more are dropped."""
        for _ in self._messages():
            pass

    def domain(self, name: str) -> int | None:
        """Return the number of the domain called `name`, None when there is none."""
        return self._search("name", name)

    def domain_of(self, uuid: str) -> int | None:
        """Return the number of the domain with that UUID, None when there is none."""
        return self._search("vm", f"/vm/{uuid}")

    def _search(self, entry: str, value: str) -> int | None:
        for number in self.directory("/local/domain"):
            if number.isdecimal() and self.read(f"/local/domain/{number}/{entry}") == value:
                return int(number)
        return None

    def _ask(self, kind: XenstoreMessage, payload: bytes) -> bytes | None:
        """Send a request and return the reply's bytes; None when there is no such entry."""
        self._requests += 1
        number = self._requests
        self._send(XenstoreHeader(kind, number, 0, len(payload)).pack() + payload)
        end = time.monotonic() + self._seconds
        while True:
            for answer, body in self._messages():
                if answer.req_id != number:
                    continue  # what an earlier request has got too late
                if answer.type != XenstoreMessage.ERROR:
                    return body
                error = body.rstrip(b"\0").decode("ascii", "replace")
                if error == "ENOENT":
                    return None
                raise MachineError(f"xenstored refuses {kind.name} with {error}", "run pvefi as root in dom0")
            if (left := end - time.monotonic()) <= 0:
                raise MachineError(f"xenstored has not answered for {self._seconds:g} s", _WAY_OUT)
            self._receive(left)

    def _send(self, message: bytes) -> None:
        end = time.monotonic() + self._seconds
        while message:
            try:
                message = message[os.write(self._descriptor, message) :]
            except BlockingIOError:
                if not self._ready(select.POLLOUT, end - time.monotonic()):
                    raise MachineError(
                        f"xenstored has read nothing for {self._seconds:g} s", _WAY_OUT
                    ) from None
            except OSError as error:
                raise MachineError(f"xenstored has gone: {error.strerror}", _WAY_OUT) from error

    def _receive(self, seconds: float) -> bool:
        """Wait at most `seconds` for more bytes and take what has come of events; whether any bytes came."""
        if not self._ready(select.POLLIN, seconds):
            return False
        try:
            part = os.read(self._descriptor, _CHUNK)
        except BlockingIOError:
            return False
        except OSError as error:
            raise MachineError(f"xenstored has gone: {error.strerror}", _WAY_OUT) from error
        if not part:
            raise MachineError("xenstored has gone", _WAY_OUT)
        self._received += part
        return True

    def _ready(self, event: int, seconds: float) -> bool:
        poll = select.poll()
        poll.register(self._descriptor, event)
        return bool(poll.poll(max(0.0, seconds) * 1000))

    def _messages(self) -> Iterator[tuple[XenstoreHeader, bytes]]:
        """Take the replies that are complete; events are set aside."""
        while len(self._received) >= XenstoreHeader.SIZE:
            header = XenstoreHeader.unpack(self._received)
            if header.len > PAYLOAD_AT_MOST:
                raise MachineError(f"xenstored sends a message of {header.len} bytes", _WAY_OUT)
            end = XenstoreHeader.SIZE + header.len
            if len(self._received) < end:
                return
            body = bytes(self._received[XenstoreHeader.SIZE : end])
            del self._received[:end]
            if header.type == XenstoreMessage.WATCH_EVENT:
                self._events.append(body.split(b"\0")[0].decode("utf-8", "replace"))
            else:
                yield header, body

    def close(self) -> None:
        """Close the connection; its watches go with it."""
        if not self._closed:
            self._closed = True
            os.close(self._descriptor)


def _connected(root: Path, seconds: float) -> int:
    """Return a descriptor at whose other end xenstored is; MachineError."""
    with socket.socket(socket.AF_UNIX) as end, contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
        end.settimeout(seconds)  # connecting waits when nobody accepts
        try:
            end.connect(str(root / _SOCKET))
        except TimeoutError as error:
            raise MachineError(f"xenstored has not answered for {seconds:g} s", _WAY_OUT) from error
        except PermissionError as error:
            raise MachineError(f"{root / _SOCKET}: no permission", "run pvefi as root in dom0") from error
        return end.detach()
    try:
        return os.open(root / _DEVICE, os.O_RDWR | os.O_CLOEXEC)
    except PermissionError as error:
        raise MachineError(f"{root / _DEVICE}: no permission", "run pvefi as root in dom0") from error
    except OSError as error:
        raise MachineError(
            f"xenstored does not run: neither {root / _SOCKET} nor {root / _DEVICE} can be opened",
            "start it: systemctl start xenstored",
        ) from error
