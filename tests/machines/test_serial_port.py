# SPDX-License-Identifier: GPL-2.0-or-later
"""What is typed is held until somebody takes it, or the guest listens; text goes the other way."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest

from pvefi.machines.readiness import Readiness
from pvefi.machines.serial_port import SerialPort


class Pipe:
    """A keyboard that is a pipe; `leaves` is somebody who presses the key for it."""

    patient = True

    def __init__(self) -> None:
        self._end, self.other = os.pipe()
        self.leaves = False

    def fileno(self) -> int:
        return self._end

    def read(self) -> bytes | None:
        data = os.read(self._end, 1 << 16)
        return None if self.leaves else data


class Line:
    """A serial port with a guest's end to it."""

    def __init__(self, *, typing: bool = True) -> None:
        self.keyboard = Pipe() if typing else None
        self.ours, self.guest = socket.socketpair()
        self.guest.setblocking(False)
        self.text: list[bytes] = []
        self.left = 0
        self.readiness = Readiness()
        self.port = SerialPort(self.ours, self.readiness, self.text.append, self.keyboard, self._leave)

    def _leave(self) -> None:
        self.left += 1

    def type(self, data: bytes) -> None:
        assert self.keyboard is not None
        os.write(self.keyboard.other, data)

    def end_typing(self) -> None:
        assert self.keyboard is not None
        os.close(self.keyboard.other)
        self.keyboard.other = -1

    def serve(self) -> None:
        self.readiness.serve(0, lambda: True)

    def close(self) -> None:
        self.ours.close()
        self.guest.close()
        if self.keyboard is not None:
            os.close(self.keyboard.fileno())
            if self.keyboard.other >= 0:
                self.end_typing()


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line()
    yield line
    line.close()


def test_what_is_typed_is_taken_once_and_does_not_reach_the_guest(line: Line) -> None:
    assert line.port.take() == b""
    line.type(b"ab")
    line.serve()
    line.type(b"c")
    assert line.port.take() == b"abc"
    assert line.port.take() == b""
    with pytest.raises(BlockingIOError):
        line.guest.recv(10)


def test_the_end_of_typing_is_told_after_what_was_typed(line: Line) -> None:
    line.type(b"ab")
    line.serve()
    line.end_typing()
    assert line.port.take() == b"ab"
    assert line.port.take() is None


def test_without_a_keyboard_there_is_never_anything_to_take() -> None:
    line = Line(typing=False)
    assert line.port.take() is None
    line.close()


def test_what_nobody_took_is_the_guest_s_once_it_listens(line: Line) -> None:
    line.type(b"ab")
    line.serve()
    line.port.listen()
    assert line.guest.recv(10) == b"ab"
    assert line.port.take() is None
    line.type(b"c")
    line.serve()
    assert line.guest.recv(10) == b"c"


def test_no_more_is_held_than_there_is_room_for(line: Line) -> None:
    assert line.keyboard is not None
    os.set_blocking(line.keyboard.other, False)
    sent = 0
    with suppress(BlockingIOError):
        while sent < 1 << 20:
            sent += os.write(line.keyboard.other, b"x" * 4096)
            line.serve()
    assert sent < 1 << 20
    taken = 0
    while held := line.port.take():
        taken += len(held)
    assert taken == sent


def test_whoever_leaves_while_somebody_takes_has_left(line: Line) -> None:
    assert line.keyboard is not None
    line.keyboard.leaves = True
    line.type(b"\x1d")
    assert line.port.take() == b""
    assert line.left == 1


def test_what_the_guest_writes_is_passed_on_and_drained(line: Line) -> None:
    line.guest.send(b"hello")
    line.serve()
    line.guest.send(b"last")
    line.guest.close()
    line.port.drain()
    assert line.text == [b"hello", b"last"]
