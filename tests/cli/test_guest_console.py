# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest writes, as it comes out of a pipe: plain text."""

from __future__ import annotations

import pytest

from pvefi.cli.guest_console import GuestConsole


def piped(capsys: pytest.CaptureFixture[str], *pieces: bytes) -> str:
    with GuestConsole(to_stderr=False) as console:
        for piece in pieces:
            console.serial(piece)
    return capsys.readouterr().out


TEXT = b"\x1b[0;32mok\x1b[0m \x1b[?25l\x1b(Bcaf\xc3\xa9\x1b]0;title\x07\r\n\x1b[38:5:1mred\x1bM\r\n"


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_serial_text_in_a_pipe_has_no_escape_sequences(capsys: pytest.CaptureFixture[str], size: int) -> None:
    pieces = [TEXT[at : at + size] for at in range(0, len(TEXT), size)]
    assert piped(capsys, *pieces) == "ok café\nred\n"


def test_a_cursor_that_goes_elsewhere_is_a_new_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert piped(capsys, b"\x1b[2J\x1b[Hone\x1b[5;1", b"Htwo") == "one\ntwo\n"


def test_what_is_no_text_stays_visible(capsys: pytest.CaptureFixture[str]) -> None:
    assert piped(capsys, b"a\0b\xffc\x07\n") == "a\u2400b\ufffdc\u2407\n"


def test_what_was_begun_and_never_ended_is_shown_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    assert piped(capsys, b"a\x1b[3") == "a\u241b[3\n"
    assert piped(capsys, b"a\xc3") == "a\ufffd\n"
