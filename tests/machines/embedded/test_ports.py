# SPDX-License-Identifier: GPL-2.0-or-later
"""The embedded machine's I/O ports."""

from __future__ import annotations

import pytest

from pvefi.machines.embedded.ports import Ports

COM1, LINE_CONTROL, LINE_STATUS = 0x3F8, 0x3FB, 0x3FD
PIT, PIT_COMMAND, READ_BACK = 0x40, 0x43, 0xC2


class Board:
    def __init__(self, seed: int | None = 1) -> None:
        self.rung = 0
        self.text = b""
        self.ports = Ports(self._ring, self._write, seed)

    def _ring(self) -> None:
        self.rung += 1

    def _write(self, data: bytes) -> None:
        self.text += data


def test_only_the_doorbell_s_port_rings() -> None:
    board = Board()
    for port in (0x51F, 0x521, 0x522, 0x80):
        board.ports.write(port, 1, 1)
    assert board.rung == 0
    for size in (1, 2, 4):
        board.ports.write(0x520, size, 0)
    assert board.rung == 3


def test_letters_go_out_at_the_serial_port() -> None:
    board = Board()
    for value in (0x48, 0x169, 0x0A):
        board.ports.write(COM1, 1, value)
    assert board.text == b"Hi\n"


def test_the_divisor_is_no_text() -> None:
    board = Board()
    board.ports.write(LINE_CONTROL, 1, 0x83)
    board.ports.write(COM1, 1, 0x01)
    board.ports.write(COM1 + 1, 1, 0x00)
    assert board.ports.read(LINE_CONTROL, 1) == 0x83
    board.ports.write(LINE_CONTROL, 1, 0x03)
    board.ports.write(COM1, 1, 0x41)
    assert board.text == b"A"


def test_the_transmitter_is_always_empty_and_nobody_types() -> None:
    status = Board().ports.read(LINE_STATUS, 1)
    assert status & 0x60 == 0x60
    assert not status & 1


@pytest.mark.parametrize(("size", "value"), [(1, 0xFF), (2, 0xFFFF), (4, 0xFFFFFFFF)])
def test_ports_that_nobody_owns_read_as_ones(size: int, value: int) -> None:
    assert Board().ports.read(0xCF8, size) == value


def timer(board: Board) -> tuple[int, int]:
    """Return status and count as Linux's KASLR reads them (arch/x86/lib/kaslr.c, i8254)."""
    board.ports.write(PIT_COMMAND, 1, READ_BACK)
    status = board.ports.read(PIT, 1)
    return status, board.ports.read(PIT, 1) | board.ports.read(PIT, 1) << 8


def test_the_timer_counts_and_its_status_says_that_the_count_is_valid() -> None:
    board = Board()
    found = [timer(board) for _ in range(20)]
    assert not any(status & 0x40 for status, _ in found)  # "null count"
    assert len({count for _, count in found}) > 10


def test_a_seed_fixes_the_timer_and_its_absence_does_not() -> None:
    def counts(seed: int | None) -> list[tuple[int, int]]:
        board = Board(seed)
        return [timer(board) for _ in range(8)]

    assert counts(5) == counts(5) != counts(6)
    assert counts(None) != counts(None)
