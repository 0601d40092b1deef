# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

from pvefi.evaluate.console import FIRST, LAST, SERIAL, ConsoleText


def test_both_consoles_are_kept_in_the_order_in_which_they_spoke() -> None:
    console = ConsoleText()
    console.write("firmware\n")
    console.serial("kernel ü".encode()[:-1])
    console.serial("ü".encode()[-1:])
    assert console.text() == "firmware\nkernel ü"
    assert console.serial_bytes == "kernel ü".encode()


def test_of_a_console_that_never_stops_the_beginning_and_the_end_are_kept() -> None:
    console = ConsoleText()
    lines = 200_000
    for number in range(lines):
        console.serial(b"%07d\n" % number)
    text = console.text()
    assert text.startswith("0000000\n0000001\n")
    assert text.endswith(f"{lines - 1:07d}\n")
    left_out = lines * 8 - FIRST - LAST
    assert f"\n[... {left_out:,} characters left out ...]\n" in text
    assert len(text) < FIRST + LAST + 100


def test_raw_bytes_are_bounded_too() -> None:
    console = ConsoleText()
    for _ in range(3):
        console.serial(bytes(SERIAL // 2))
    assert len(console.serial_bytes) == SERIAL
