# SPDX-License-Identifier: GPL-2.0-or-later
"""Screens of Debian's installer are told by what reaches a serial port; the bytes are the installer's."""

from __future__ import annotations

from pvefi.probe.installer import FIRST_LINE, installer_screens

KERNEL = b"[    4.522574] Run /init as init process\r\n"
LOG = b"Starting system log daemon: syslogd, klogd.\r\n\x1b[1;24r\x1b[4l\x1b(B\x1b)0\x1b[m\x0f"
HINT = b"\x1b[24;1H\x1b[m\x0f\x0f<Tab> moves; <Space> selects; <Enter> activates buttons\x1b[15;36H"
LOW_MEMORY = (
    b"\x1b[H\x1b[J\x1b[1;1HLow memory mode\x1b[8;4H\x0elqqqqqu\x1b[m\x0f\x0f [!!] Low memory \x0etqqqqqk"
    b"\x1b[9;4Hx\x1b[71Cx\x1b[10;4Hx\x1b[23C\x1b[m\x0f\x0fEntering low memory mode\x1b[24C\x0ex"
)
LANGUAGE = (
    b"\x1b[0m\x1b(0\x1b[47mlqqqqu\x1b[0m\x1b(B\x1b[30m\x1b[47m \x1b[31m[!!] Select a language\x1b[30m "
    b"\x1b(0tqqqqk\x1b[6;3Hx\x1b[0m\x1b(B\x1b[30m\x1b[47m Choose the language to be used"
)


def test_a_screen_counts_when_it_is_drawn_to_its_end() -> None:
    assert installer_screens(KERNEL + LOG) == ()
    assert installer_screens(KERNEL + LOG + LANGUAGE) == ()
    assert installer_screens(KERNEL + LOG + LANGUAGE + HINT) == ("Select a language",)
    assert FIRST_LINE in KERNEL + LOG


def test_low_memory_has_a_screen_of_its_own() -> None:
    assert installer_screens(KERNEL + LOG + LOW_MEMORY + HINT) == ("Low memory",)


def test_screens_come_in_their_order() -> None:
    text = KERNEL + LOG + LOW_MEMORY + HINT + LANGUAGE + HINT
    assert installer_screens(text) == ("Low memory", "Select a language")


def test_a_panic_is_no_screen() -> None:
    assert installer_screens(KERNEL + b"Kernel panic - not syncing: No working init found.\r\n") == ()
