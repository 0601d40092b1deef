# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's debugger stub, spoken to over a socket: breakpoints, and the registers of every vCPU.

Sources: the GDB manual, "Remote Protocol"; QEMU 7.2 gdbstub/gdbstub.c. What bites there: while the guest
runs, any byte from us stops it and is otherwise lost, so nothing is asked of a running guest. A connection
that is there when QEMU starts does not stop the guest. Answers come from QEMU's main loop: there are none
while a vCPU is blocked in a device.
"""

from __future__ import annotations

import select
import socket
import time
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from pvefi.errors import MachineError
from pvefi.machines.qemu.gdb_registers import Register, registers_in, registers_of
from pvefi.machines.qemu.rsp import ACKNOWLEDGED, INTERRUPT, PacketReader, packet
from pvefi.machines.readiness import is_ready

__all__ = ["Gdb", "GdbStop"]

_PIECE = 0x800
"""How much of a document is asked for at a time; QEMU's PacketSize is 4 KiB."""
_DOCUMENT_AT_MOST = 1 << 20
_STEP = 0.5
"""Seconds for one instruction."""
_STOPPED = (b"S", b"T")
_ENDED = (b"W", b"X")


@dataclass(frozen=True)
class GdbStop:
    """The guest stands still: at a breakpoint where `signal` is SIGTRAP, stopped from outside where SIGINT.

    `thread` is the vCPU that stopped, as QEMU numbers them from 1. `ended` says that QEMU is about to end.
    """

    signal: int
    thread: int
    ended: bool = False


class Gdb:
    """The debugger stub at the other end of `connection`, which is taken over and closed.

    All methods but `feed`, `wait`, `interrupt` and `close` want a guest that stands still. MachineError when
    QEMU refuses, ends, or does not answer within `timeout` seconds.
    """

    def __init__(self, connection: socket.socket, timeout: float = 5.0) -> None:
        self._connection = connection
        self._connection.setblocking(False)
        self._timeout = timeout
        self._reader = PacketReader()
        self._packets: deque[bytes] = deque()
        self._layout: tuple[Register, ...] = ()
        self._breakpoints: set[int] = set()
        self._running = False
        self._closed = False

    @property
    def running(self) -> bool:
        """Whether the guest runs, as far as has been read from the socket."""
        return self._running

    @property
    def breakpoints(self) -> frozenset[int]:
        """The addresses at which the guest stops."""
        return frozenset(self._breakpoints)

    def fileno(self) -> int:
        """Return the socket's file descriptor: readable when `feed` may have something to say."""
        return self._connection.fileno()

    def attach(self) -> GdbStop:
        """Stop the guest, whether it runs or not, and return how it stands."""
        self._send(INTERRUPT + packet("?"))
        # A guest that ran says that it has stopped, and answers; one that stood still only answers.
        stop = self._stop(self._packet())
        self._send(packet("qC"))
        while (answer := self._packet()).startswith(_STOPPED):
            stop = self._stop(answer)
        self._running = False
        if not answer.startswith(b"QC"):
            raise MachineError(f"expected QEMU's debugger to name its thread, found {answer!r}")
        return stop

    def insert(self, addresses: Iterable[int]) -> None:
        """Stop before the instructions at these addresses (guest virtual, in a flat code segment).

        They are hardware breakpoints: guest memory stays as it is. KVM has four. TCG takes any number, but
        goes through them all at many jumps: hundreds cost a decompressor nothing, a running kernel seconds.
        """
        for address in set(addresses) - self._breakpoints:
            answer = self._ask(f"Z1,{address:x},1")
            if answer != b"OK":
                raise MachineError(
                    f"QEMU refuses a breakpoint at {address:#x}, beside {len(self._breakpoints)} others",
                    "KVM has four",
                )
            self._breakpoints.add(address)

    def remove(self, addresses: Iterable[int]) -> None:
        """Stop at these addresses no longer."""
        for address in set(addresses) & self._breakpoints:
            self._confirmed(f"z1,{address:x},1")
            self._breakpoints.discard(address)

    def threads(self) -> tuple[int, ...]:
        """Return the numbers of the vCPUs."""
        found: list[int] = []
        answer = self._ask("qfThreadInfo")
        while answer.startswith(b"m"):
            found += [int(name, 16) for name in answer[1:].split(b",")]
            answer = self._ask("qsThreadInfo")
        return tuple(found)

    def registers(self, thread: int) -> Mapping[str, int]:
        """Return a vCPU's registers by lower-case name: general, segment and control ones, and more."""
        if not self._layout:
            self._layout = registers_in(self._document)
        self._confirmed(f"Hg{thread:x}")
        return registers_of(self._layout, self._ask("g"))

    def step(self, thread: int) -> GdbStop:
        """Execute one instruction on one vCPU, interrupts held off, past a breakpoint that stands at it.

        A vCPU that it halts does not tell of the step: it is stopped, and stays halted.
        """
        here = self._breakpoints & {self.registers(thread)["rip"]}
        self.remove(here)
        self._start(f"vCont;s:{thread:x}")
        stop = self.wait(_STEP) or self.interrupt()
        if not stop.ended:
            self.insert(here)
        return stop

    def resume(self) -> GdbStop | None:
        """Let the guest run; each vCPU that stands at a breakpoint gets past it.

        Return None, or the next stop where the way past one breakpoint leads to another.
        """
        for thread in self.threads() if self._breakpoints else ():
            if self.registers(thread)["rip"] not in self._breakpoints:
                continue
            stop = self.step(thread)
            if stop.ended or self.registers(thread)["rip"] in self._breakpoints:
                return stop
        self._start("vCont;c")
        return None

    def interrupt(self) -> GdbStop:
        """Stop a running guest; the stop that is returned may be that of a breakpoint reached just before."""
        if self._running:
            self._send(INTERRUPT)
        stop = self.wait(self._timeout)
        if stop is None:
            raise MachineError(f"expected the guest to stop within {self._timeout:.3g} s, found it running")
        return stop

    def feed(self) -> GdbStop | None:
        """Read what has come, without waiting, and return the stop if the guest has stopped."""
        return self.wait(0)

    def wait(self, timeout: float) -> GdbStop | None:
        """Wait up to `timeout` seconds for the guest to stop; None when it runs on."""
        deadline = time.monotonic() + timeout
        while True:
            while self._packets:
                payload = self._packets.popleft()
                if payload.startswith(_STOPPED + _ENDED):
                    return self._stop(payload)
            if not self._receive(max(0.0, deadline - time.monotonic())):
                return None

    def detach(self) -> None:
        """Remove every breakpoint and let the guest run on, without us."""
        self.remove(self.breakpoints)
        self._confirmed("D")
        self._running = True
        self.close()

    def close(self) -> None:
        """End the connection; breakpoints stay, and so does the guest's state."""
        if not self._closed:
            self._closed = True
            self._connection.close()

    def _start(self, command: str) -> None:
        self._running = True
        self._send(packet(command))

    def _confirmed(self, command: str) -> None:
        answer = self._ask(command)
        if answer != b"OK":
            raise MachineError(f"QEMU's debugger refuses {command} ({answer!r})")

    def _ask(self, command: str) -> bytes:
        if self._running:
            raise AssertionError(f"{command} is asked of a running guest")
        self._send(packet(command))
        return self._packet()

    def _document(self, name: str) -> str:
        """Return one of the documents that make up the target description."""
        text = b""
        while len(text) < _DOCUMENT_AT_MOST:
            part = self._ask(f"qXfer:features:read:{name}:{len(text):x},{_PIECE:x}")
            text += part[1:]
            if part[:1] != b"m":
                break
        return text.decode("utf-8", "replace")

    def _packet(self) -> bytes:
        deadline = time.monotonic() + self._timeout
        while not self._packets:
            if not self._receive(max(0.0, deadline - time.monotonic())):
                raise MachineError(
                    f"expected an answer of QEMU's debugger within {self._timeout:.3g} s, found none"
                )
        return self._packets.popleft()

    def _stop(self, payload: bytes) -> GdbStop:
        """Return what a stop reply says, such as `T05thread:01;`."""
        self._running = False
        fields = dict(part.partition(b":")[::2] for part in payload[3:].split(b";"))
        try:
            signal, thread = int(payload[1:3], 16), int(fields.get(b"thread", b"1"), 16)
        except ValueError as error:
            raise MachineError(f"expected a stop reply of QEMU's debugger, found {payload!r}") from error
        return GdbStop(signal, thread, payload.startswith(_ENDED))

    def _send(self, data: bytes) -> None:
        deadline = time.monotonic() + self._timeout
        while data:
            try:
                data = data[self._connection.send(data) :]
            except BlockingIOError:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise MachineError("QEMU's debugger takes no more") from None
                is_ready(self._connection.fileno(), left, select.POLLOUT)
            except OSError as error:
                raise MachineError(f"QEMU's debugger has gone: {error.strerror}") from error

    def _receive(self, timeout: float) -> bool:
        """Take in what comes within `timeout` seconds; whether something came."""
        if not is_ready(self._connection.fileno(), timeout):
            return False
        data = b""
        with suppress(ConnectionError):
            data = self._connection.recv(0x10000)
        if not data:
            raise MachineError("QEMU has ended its debugger connection")
        packets = self._reader.feed(data)
        self._packets.extend(packets)
        if packets:
            with suppress(MachineError):  # one that has ended wants no more of this
                self._send(ACKNOWLEDGED * len(packets))
        return True
