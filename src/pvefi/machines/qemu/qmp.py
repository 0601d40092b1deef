# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's monitor protocol, spoken in a thread of its own, so that a guest runs while the monitor is reached.

asyncio and qemu.qmp are imported in that thread, and not before the guest has its image: until then every
call of the guest would have to wait for them.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import logging
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from pvefi.errors import MachineError

if TYPE_CHECKING:
    import asyncio

    from qemu.qmp import Message, QMPClient

__all__ = ["Qmp", "QmpEvent"]

_LATEST = 0.25
"""Seconds after which the monitor is reached, whatever the guest does."""
_SETTLED = 0.03
"""Seconds that a guest's image has for its first calls, before it gets busy by itself."""
_SILENT = logging.CRITICAL + 1
_END_AT_MOST = 5.0
"""Seconds for the thread to end once its connection is shut down; it needs a few milliseconds."""


@dataclass(frozen=True)
class QmpEvent:
    """An event that QEMU has sent, such as SHUTDOWN; `seconds` is QEMU's time stamp, since the epoch."""

    name: str
    data: Mapping[str, object]
    seconds: float


class Qmp:
    """QEMU's monitor at the other end of `connection`, which is taken over and closed.

    The methods are for one thread, the one that made this.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._events: deque[QmpEvent] = deque()
        self._lock = threading.Lock()
        self._waiting: set[concurrent.futures.Future[object]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: QMPClient | None = None
        self._failure = ""
        self._over = False
        self._soon, self._wanted = threading.Event(), threading.Event()
        self._reached = threading.Event()
        self._finished = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="pvefi-qmp", daemon=True)
        self._thread.start()

    def reach(self) -> None:
        """Reach the monitor soon: the guest starts its image. Does not wait for that."""
        self._soon.set()

    def _hurry(self) -> None:
        self._wanted.set()
        self._soon.set()

    @property
    def ended(self) -> bool:
        """Whether there will be no more answers and no more events than those that are queued."""
        return self._over

    def fileno(self) -> int:
        """Return a file descriptor that is readable when an event is queued, and once when all has ended."""
        return self._wake

    def events(self) -> tuple[QmpEvent, ...]:
        """Take what is queued, oldest first; never waits."""
        if not self._closed:
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._wake)
        taken = []
        while self._events:
            taken.append(self._events.popleft())
        return tuple(taken)

    def wait_for_end(self, seconds: float) -> None:
        """Wait until all that QEMU has said is queued, once it has ended; no longer than `seconds`."""
        self._hurry()
        self._finished.wait(seconds)

    def execute(
        self, command: str, arguments: Mapping[str, object] | None = None, *, timeout: float = 5.0
    ) -> object:
        """Have QEMU execute a command and return its answer.

        MachineError when QEMU refuses it, has ended, or does not answer within `timeout` seconds, such as
        while its main loop waits for a device.
        """
        deadline = time.monotonic() + timeout
        self._hurry()
        if not self._reached.wait(timeout):
            self._unanswered(command, timeout)
        future = self._submitted(command, arguments)
        try:
            return future.result(max(0.0, deadline - time.monotonic()))
        except concurrent.futures.TimeoutError:
            self._unanswered(command, timeout)
        except concurrent.futures.CancelledError:
            self._gone(command)
        finally:
            future.cancel()
            self._waiting.discard(future)

    def close(self) -> None:
        """End connection and thread, whatever QEMU does; what interrupts this is raised at its end."""
        if self._closed:
            return
        self._closed = True
        interrupted: BaseException | None = None
        for wait in (self._shut, self._finish):
            try:
                wait()
            except BaseException as error:
                interrupted = error
                wait()
        # A thread that has not ended keeps its descriptor: the number must not become another file's.
        if self._finished.is_set():
            os.close(self._wake)
            self._wake = -1
        if interrupted is not None:
            raise interrupted

    def _shut(self) -> None:
        self._hurry()
        with contextlib.suppress(OSError):  # QEMU has gone before
            self._connection.shutdown(socket.SHUT_RDWR)

    def _finish(self) -> None:
        if self._finished.wait(_END_AT_MOST):
            self._thread.join(_END_AT_MOST)

    def _unanswered(self, command: str, timeout: float) -> NoReturn:
        raise MachineError(f"expected QEMU's answer to {command} within {timeout:.3g} s, found none")

    def _gone(self, command: str) -> NoReturn:
        why = f" ({self._failure})" if self._failure else ""
        raise MachineError(f"QEMU has ended its monitor connection, {command} has no answer{why}")

    def _submitted(
        self, command: str, arguments: Mapping[str, object] | None
    ) -> concurrent.futures.Future[object]:
        import asyncio

        with self._lock:
            if self._over or self._loop is None:
                self._gone(command)
            future = asyncio.run_coroutine_threadsafe(self._execute(command, arguments), self._loop)
            self._waiting.add(future)
            return future

    async def _execute(self, command: str, arguments: Mapping[str, object] | None) -> object:
        from qemu.qmp import ExecInterruptedError, ExecuteError, QMPError

        assert self._client is not None
        try:
            return await self._client.execute(command, dict(arguments) if arguments else None)
        except ExecuteError as error:
            raise MachineError(f"QEMU refuses {command}: {error}") from error
        except ExecInterruptedError:
            self._gone(command)
        except QMPError as error:  # the connection ended before the command was sent
            raise MachineError(f"QEMU's monitor fails at {command}: {error}") from error

    def _run(self) -> None:
        """Be the thread."""
        try:
            self._soon.wait(_LATEST)
            self._wanted.wait(_SETTLED)
            import asyncio

            asyncio.run(self._serve())
        except Exception as error:  # nobody would see it: it is told to whoever waits for an answer
            self._failure = str(error)
        finally:
            self._end()
            self._connection.close()
            self._finished.set()

    async def _serve(self) -> None:
        import asyncio

        from qemu.qmp import QMPClient, QMPError

        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, _context: None)  # it would write on stderr
        client = QMPClient("pvefi")
        client.logger = logging.Logger("pvefi-qmp", _SILENT)  # likewise; a logger that is nobody's child
        try:
            await client.connect(self._connection)
            self._client, self._loop = client, loop
            self._reached.set()
            await self._listen(client)
        except (QMPError, EOFError, OSError) as error:
            self._failure = str(error)
        finally:
            self._end()

    async def _listen(self, client: QMPClient) -> None:
        """Queue events until the connection ends."""
        import asyncio

        from qemu.qmp import Runstate

        async def take() -> None:
            async for message in client.events:
                self._queue(message)

        taking = asyncio.create_task(take())
        while client.runstate == Runstate.RUNNING:
            await client.runstate_changed()
        taking.cancel()
        await asyncio.wait((taking,))
        for message in client.events.clear():
            self._queue(message)
        await asyncio.wait_for(client.disconnect(), _END_AT_MOST)

    def _queue(self, message: Message) -> None:
        name, data, stamp = message.get("event"), message.get("data"), message.get("timestamp")
        seconds = 0.0
        if isinstance(stamp, dict):
            seconds = float(stamp.get("seconds", 0)) + float(stamp.get("microseconds", 0)) / 1e6
        self._events.append(QmpEvent(str(name), data if isinstance(data, dict) else {}, seconds))
        os.eventfd_write(self._wake, 1)

    def _end(self) -> None:
        """Tell everybody who waits that there is nothing more to wait for."""
        with self._lock:
            if self._over:
                return
            self._over = True
            for future in tuple(self._waiting):
                future.cancel()
        self._reached.set()
        os.eventfd_write(self._wake, 1)
