# SPDX-License-Identifier: GPL-2.0-or-later
"""The console's output: text, and the mode structure that follows it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvefi.efi.errors import EfiError
from pvefi.efi.protocols import text_output
from pvefi.errors import GuestFault
from pvefi.spec.uefi import guids
from pvefi.spec.uefi.protocols import SimpleTextOutputMode, SimpleTextOutputProtocol
from pvefi.spec.uefi.status import EfiStatus
from pvefi.trace.events import Address
from tests.efi.boot.guest import SIZE, FakeGuest

WILD = Address(0xDEAD_0000_0000)


class Console:
    """A guest's console output, by its interface in memory."""

    def __init__(self, profile: str = "linux") -> None:
        self.guest = FakeGuest(profile)
        self.text = ""
        self.efi = self.guest.efi
        self.efi.surroundings = replace(self.efi.surroundings, console=self._hear)
        (self.handle,) = self.efi.handles.handles_with(guids.SIMPLE_TEXT_OUTPUT_PROTOCOL)
        self.this = Address(self.efi.handles.interface(self.handle, guids.SIMPLE_TEXT_OUTPUT_PROTOCOL) or 0)

    def _hear(self, text: str) -> None:
        self.text += text

    @property
    def interface(self) -> SimpleTextOutputProtocol:
        data = self.guest.memory.read(self.this, SimpleTextOutputProtocol.SIZE)
        return SimpleTextOutputProtocol.unpack(data)

    @property
    def mode(self) -> SimpleTextOutputMode:
        data = self.guest.memory.read(self.interface.mode, SimpleTextOutputMode.SIZE)
        return SimpleTextOutputMode.unpack(data)

    def set_mode(self, **fields: int) -> None:
        self.guest.memory.write(self.interface.mode, replace(self.mode, **fields).pack())

    @property
    def cursor(self) -> tuple[int, int]:
        return self.mode.cursor_column, self.mode.cursor_row

    def write(self, text: str) -> EfiStatus:
        return text_output.output_string(self.efi, self.this, text)


@pytest.fixture
def console() -> Console:
    return Console()


def refused(status: EfiStatus) -> pytest.RaisesExc[EfiError]:
    return pytest.raises(EfiError, match=status.efi_name)


# ---------------------------------------------------------------- the interface


FUNCTIONS = (
    ("reset", "Reset"),
    ("output_string", "OutputString"),
    ("test_string", "TestString"),
    ("query_mode", "QueryMode"),
    ("set_mode", "SetMode"),
    ("set_attribute", "SetAttribute"),
    ("clear_screen", "ClearScreen"),
    ("set_cursor_position", "SetCursorPosition"),
    ("enable_cursor", "EnableCursor"),
)


@pytest.mark.parametrize("profile", ["minimal", "linux"])
def test_every_function_has_its_own_gate(profile: str) -> None:
    console = Console(profile)
    symbols = console.efi.trampoline.symbols
    for field, name in FUNCTIONS:
        index, rest = divmod(getattr(console.interface, field) - symbols["gates"], symbols["GATE_SIZE"])
        service = console.efi.gates.service(index)
        assert rest == 0
        assert service is not None
        assert service.name == f"EFI_SIMPLE_TEXT_OUTPUT_PROTOCOL.{name}"


def test_the_mode_at_the_start(console: Console) -> None:
    mode = console.mode
    assert (mode.max_mode, mode.mode, mode.attribute) == (1, 0, 0x07)
    assert console.cursor == (0, 0)
    assert mode.cursor_visible == 1


# ---------------------------------------------------------------- text


@pytest.mark.parametrize(
    ("text", "cursor"),
    [
        ("", (0, 0)),
        ("abc", (3, 0)),
        ("abc\r", (0, 0)),
        ("abc\n", (3, 1)),
        ("abc\r\nd", (1, 1)),
        ("ab\b\b\b", (0, 0)),
        ("x" * 79, (79, 0)),
        ("x" * 80, (0, 1)),
        ("x" * 200, (40, 2)),
        ("\n" * 100, (0, 24)),
        ("x" * 80 * 30, (0, 24)),
    ],
)
def test_the_cursor_goes_where_the_text_takes_it(
    console: Console, text: str, cursor: tuple[int, int]
) -> None:
    assert console.write(text) == EfiStatus.SUCCESS
    assert console.text == text
    assert console.cursor == cursor


def test_text_goes_on_where_the_last_ended(console: Console) -> None:
    console.write("ab")
    console.write("cd")
    assert console.text == "abcd"
    assert console.cursor == (4, 0)


@pytest.mark.parametrize("text", ["a\ud800b", "a\x1b[2Jb", "a\x7fb", "a\x9bb", "a\x01b"])
def test_what_cannot_be_shown_is_left_out_with_a_warning(console: Console, text: str) -> None:
    assert console.write(text) == EfiStatus.WARN_UNKNOWN_GLYPH
    assert console.text.isprintable()
    assert "a" in console.text
    with refused(EfiStatus.UNSUPPORTED):
        text_output.test_string(console.efi, console.this, text)


def test_what_can_be_shown_passes_the_test(console: Console) -> None:
    text_output.test_string(console.efi, console.this, "\u2554 box, \u20ac \U0001f600\r\n")
    assert console.text == ""


# ---------------------------------------------------------------- modes, colours, the cursor


def test_the_only_mode_is_80_by_25(console: Console) -> None:
    columns, rows = console.guest.number(), console.guest.number()
    text_output.query_mode(console.efi, console.this, 0, columns, rows)
    assert (columns.get(), rows.get()) == (80, 25)
    for number in (1, 2, (1 << 64) - 1):
        with refused(EfiStatus.UNSUPPORTED):
            text_output.query_mode(console.efi, console.this, number, columns, rows)
        with refused(EfiStatus.UNSUPPORTED):
            text_output.set_mode(console.efi, console.this, number)
    assert console.text == ""


def test_choosing_the_mode_clears_the_screen(console: Console) -> None:
    console.write("abc\n")
    text_output.set_mode(console.efi, console.this, 0)
    assert console.cursor == (0, 0)
    assert console.text.endswith("\x1b[2J\x1b[H")


# UEFI 2.10 §12.4.7 counts colours blue 1, green 2, red 4; terminals red 1, green 2, blue 4.
@pytest.mark.parametrize(
    ("attribute", "sequence"),
    [
        (0x07, "\x1b[0m"),
        (0x04, "\x1b[31;40m"),
        (0x01, "\x1b[34;40m"),
        (0x0E, "\x1b[93;40m"),
        (0x1F, "\x1b[97;44m"),
        (0x70, "\x1b[30;47m"),
        (0x7F, "\x1b[97;47m"),
    ],
)
def test_colours_become_the_terminal_s(console: Console, attribute: int, sequence: str) -> None:
    text_output.set_attribute(console.efi, console.this, attribute)
    assert console.text == sequence
    assert console.mode.attribute == attribute


@pytest.mark.parametrize("attribute", [0x80, 0x100, 1 << 31, (1 << 64) - 1])
def test_what_is_no_colour_is_refused(console: Console, attribute: int) -> None:
    with refused(EfiStatus.UNSUPPORTED):
        text_output.set_attribute(console.efi, console.this, attribute)
    assert (console.text, console.mode.attribute) == ("", 0x07)


def test_the_cursor_is_moved_within_the_screen(console: Console) -> None:
    text_output.set_cursor_position(console.efi, console.this, 79, 24)
    assert console.cursor == (79, 24)
    assert console.text == "\x1b[25;80H"  # terminals count from 1, and the row first


@pytest.mark.parametrize(("column", "row"), [(80, 0), (0, 25), ((1 << 64) - 1, 0)])
def test_the_cursor_stays_on_the_screen(console: Console, column: int, row: int) -> None:
    with refused(EfiStatus.UNSUPPORTED):
        text_output.set_cursor_position(console.efi, console.this, column, row)
    assert (console.text, console.cursor) == ("", (0, 0))


@pytest.mark.parametrize(("visible", "sequence"), [(True, "\x1b[?25h"), (False, "\x1b[?25l")])
def test_the_cursor_is_shown_and_hidden(console: Console, visible: bool, sequence: str) -> None:
    text_output.enable_cursor(console.efi, console.this, visible)
    assert (console.text, console.mode.cursor_visible) == (sequence, int(visible))


def test_a_reset_brings_the_first_state_back(console: Console) -> None:
    first = console.mode
    text_output.set_attribute(console.efi, console.this, 0x1E)
    text_output.enable_cursor(console.efi, console.this, False)
    console.write("abc\n")
    text_output.reset(console.efi, console.this, False)
    assert console.mode == first
    assert console.text.endswith("\x1b[0m\x1b[2J\x1b[H\x1b[?25h")


# ---------------------------------------------------------------- a guest that spoils its interface


def test_a_wild_this_is_a_fault(console: Console) -> None:
    for this in (WILD, Address(SIZE - 8), Address(0xFFFF_FFFF_FFFF_FFF0)):
        with pytest.raises(GuestFault):
            text_output.output_string(console.efi, this, "x")


def test_a_wild_mode_is_a_fault(console: Console) -> None:
    at = console.this + SimpleTextOutputProtocol.offset_of("mode")
    console.guest.memory.write(at, WILD.to_bytes(8, "little"))
    with pytest.raises(GuestFault):
        console.write("x")


SHARED = Console()


@given(
    st.integers(-(1 << 31), (1 << 31) - 1),
    st.integers(-(1 << 31), (1 << 31) - 1),
    st.text("ab\r\n\b", max_size=8),
)
def test_any_cursor_that_a_guest_writes_is_survived(column: int, row: int, text: str) -> None:
    console = SHARED
    console.text = ""
    console.set_mode(cursor_column=column, cursor_row=row)
    assert console.write(text) == EfiStatus.SUCCESS
    assert console.text == text
