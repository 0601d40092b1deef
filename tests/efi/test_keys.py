# SPDX-License-Identifier: GPL-2.0-or-later
"""What terminals and pipes send becomes EFI keys."""

from __future__ import annotations

import pytest

from pvefi.efi.keys import Keys
from pvefi.spec.uefi.keys import InputKey, ScanCode


class Typist:
    """Types one piece at each look, and then no more."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = list(pieces)

    def __call__(self) -> bytes | None:
        return self.pieces.pop(0) if self.pieces else None


def read(*pieces: bytes) -> list[InputKey]:
    """Return all keys of what is typed in these pieces."""
    typist = Typist(*pieces)
    keys = Keys(typist)
    found = []
    while True:
        key = keys.read()
        if key is not None:
            found.append(key)
        elif not typist.pieces:
            return found


def letters(text: str) -> list[InputKey]:
    return [InputKey(ScanCode.NULL, ord(letter)) for letter in text]


def test_letters_come_in_the_order_of_typing() -> None:
    assert read(b"ab", b"c") == letters("abc")


@pytest.mark.parametrize(
    ("sent", "character"), [(b"\n", 0x0D), (b"\r", 0x0D), (b"\x7f", 0x08), (b"\b", 0x08), (b"\t", 0x09)]
)
def test_return_and_backspace_are_those_of_efi(sent: bytes, character: int) -> None:
    assert read(sent) == [InputKey(ScanCode.NULL, character)]


@pytest.mark.parametrize(
    ("sent", "scan"),
    [
        (b"\x1b[A", 0x01),
        (b"\x1bOB", 0x02),
        (b"\x1b[C", 0x03),
        (b"\x1b[D", 0x04),
        (b"\x1b[H", 0x05),
        (b"\x1b[1~", 0x05),
        (b"\x1b[F", 0x06),
        (b"\x1b[2~", 0x07),
        (b"\x1b[3~", 0x08),
        (b"\x1b[5~", 0x09),
        (b"\x1b[6~", 0x0A),
        (b"\x1bOP", 0x0B),
        (b"\x1b[15~", 0x0F),
        (b"\x1b[21~", 0x14),
        (b"\x1b[23~", 0x15),
        (b"\x1b[24~", 0x16),
        (b"\x1b", 0x17),
    ],
)
def test_keys_without_a_character_have_the_scan_codes_of_appendix_b(sent: bytes, scan: int) -> None:
    assert read(sent) == [InputKey(ScanCode(scan), 0)]


def test_a_key_that_efi_does_not_have_is_left_out() -> None:
    assert read(b"a\x1b[99~b\0c\xf0\x9f\x98\x80d") == letters("abcd")


def test_escape_before_a_letter_is_a_key_of_its_own() -> None:
    assert read(b"\x1bx") == [InputKey(ScanCode.ESC, 0), *letters("x")]


def test_escape_before_what_never_becomes_a_sequence_is_a_key_of_its_own() -> None:
    assert read(b"\x1b[11111111~")[:2] == [InputKey(ScanCode.ESC, 0), *letters("[")]


def test_a_character_of_several_bytes_may_come_in_pieces() -> None:
    assert read(b"\xe2\x82", b"\xac") == letters("€")


def test_a_byte_that_is_no_text_is_a_replacement_character() -> None:
    assert read(b"a\xffb") == letters("a\ufffdb")
    assert read(b"a\xc3") == letters("a\ufffd")


def test_what_was_typed_before_a_reset_is_forgotten() -> None:
    keys = Keys(Typist(b"abc", b"d"))
    keys.clear()
    assert keys.read() == letters("d")[0]


def test_nobody_keeps_more_keys_than_anybody_types_ahead() -> None:
    assert len(read(b"x" * 5000)) == 1024


def test_only_the_event_of_keys_may_signal_and_only_while_somebody_may_type() -> None:
    keys = Keys(Typist(b""))
    keys.wait_for_key = 7
    assert not keys.ready()
    assert keys.may_signal(7)
    assert not keys.may_signal(8)
    assert not keys.ready()
    assert not keys.may_signal(7)
