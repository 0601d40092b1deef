# SPDX-License-Identifier: GPL-2.0-or-later
"""EFI_SIMPLE_TEXT_OUTPUT_PROTOCOL — UEFI 2.10 §12.4, drawn as a terminal's escape sequences.

There is one mode, 80 by 25. The mode structure in the guest follows every change of cursor and colour.
"""

from __future__ import annotations

from dataclasses import replace

from pvefi.efi.environment import Environment
from pvefi.efi.errors import EfiError
from pvefi.efi.service import BOOLEAN, UINTN, Out, Pointer, service
from pvefi.spec.uefi import guids
from pvefi.spec.uefi.protocols import SimpleTextOutputMode, SimpleTextOutputProtocol
from pvefi.spec.uefi.status import EfiStatus

__all__ = ["install"]

COLUMNS, ROWS = 80, 25  # UEFI 2.10 §12.4.5: mode 0 is always 80 by 25
_ATTRIBUTE_MASK = 0x7F  # UEFI 2.10 §12.4.7: "Bits 0..3 are the foreground color, bits 4..6 the background"
_LIGHT_GREY_ON_BLACK = 0x07
_SGR_COLOURS = (0, 4, 2, 6, 1, 5, 3, 7)  # EFI counts blue, green, red; ECMA-48 red, green, blue
_UNSHOWN = (range(0xD800, 0xE000), range(0x7F, 0xA0), range(0x20))  # surrogates and control characters
_KEPT = 512  # characters of what was written last, for the verdict
_LAYOUT = "\0\b\t\n\r"  # the control characters that UEFI 2.10 §12.4.3 gives a meaning, and tabs


def install(efi: Environment) -> tuple[int, int]:
    """Place the protocol on a handle of its own; return handle and interface address, or zeroes."""
    if not efi.profile.has_interface(guids.SIMPLE_TEXT_OUTPUT_PROTOCOL):
        return 0, 0
    mode = efi.boot_arena.place(
        "SIMPLE_TEXT_OUTPUT_MODE", SimpleTextOutputMode(1, 0, _LIGHT_GREY_ON_BLACK, 0, 0, 1).pack()
    )
    gate = efi.gates.address
    interface = SimpleTextOutputProtocol(
        reset=gate(reset),
        output_string=gate(output_string),
        test_string=gate(test_string),
        query_mode=gate(query_mode),
        set_mode=gate(set_mode),
        set_attribute=gate(set_attribute),
        clear_screen=gate(clear_screen),
        set_cursor_position=gate(set_cursor_position),
        enable_cursor=gate(enable_cursor),
        mode=mode,
    )
    address = efi.boot_arena.place("EFI_SIMPLE_TEXT_OUTPUT_PROTOCOL", interface.pack())
    return efi.offer(0, (guids.SIMPLE_TEXT_OUTPUT_PROTOCOL, address)), address


def _shown(character: str) -> bool:
    return character in _LAYOUT or not any(ord(character) in unshown for unshown in _UNSHOWN)


def _mode_address(efi: Environment, this: int) -> int:
    at = SimpleTextOutputProtocol.offset_of("mode")
    return int.from_bytes(efi.memory.read(this + at, 8), "little")


def _mode(efi: Environment, this: int) -> SimpleTextOutputMode:
    return SimpleTextOutputMode.unpack(efi.memory.read(_mode_address(efi, this), SimpleTextOutputMode.SIZE))


def _set_mode(efi: Environment, this: int, mode: SimpleTextOutputMode) -> None:
    efi.memory.write(_mode_address(efi, this), mode.pack())


def _advance(mode: SimpleTextOutputMode, text: str) -> SimpleTextOutputMode:
    """Return the mode with the cursor where `text` leaves it — UEFI 2.10 §12.4.3, Table 12.4."""
    column, row = mode.cursor_column, mode.cursor_row
    for character in text:
        if character == "\r":
            column = 0
        elif character == "\n":
            row += 1
        elif character == "\b":
            column = max(0, column - 1)
        elif character != "\0":
            column += 1
            if column >= COLUMNS:
                column, row = 0, row + 1
    return replace(mode, cursor_column=column, cursor_row=min(row, ROWS - 1))


@service("EFI_SIMPLE_TEXT_OUTPUT_PROTOCOL.Reset", "UEFI 2.10 §12.4.2")
def reset(efi: Environment, this: Pointer, extended_verification: BOOLEAN) -> None:
    """Put the terminal in its first state: mode 0, default colours, an empty screen."""
    _set_mode(efi, this, SimpleTextOutputMode(1, 0, _LIGHT_GREY_ON_BLACK, 0, 0, 1))
    efi.surroundings.console("\x1b[0m\x1b[2J\x1b[H\x1b[?25h")


@service("EFI_SIMPLE_TEXT_OUTPUT_PROTOCOL.OutputString", "UEFI 2.10 §12.4.3")
def output_string(efi: Environment, this: Pointer, string: str) -> EfiStatus:
    """Write text at the cursor.

    INVALID_PARAMETER: `string` is NULL, or longer than any that the trace is to hold (CHAR16_LIMIT), sixteen
    screens full. WARN_UNKNOWN_GLYPH: characters that cannot be shown were left out, escape sequences' among
    them: a guest must not steer the user's terminal past this protocol.
    """
    text = "".join(character for character in string if _shown(character))
    efi.surroundings.console(text)
    efi.said = (efi.said + text)[-_KEPT:]
    _set_mode(efi, this, _advance(_mode(efi, this), text))
    return EfiStatus.SUCCESS if text == string else EfiStatus.WARN_UNKNOWN_GLYPH


@service("EFI_SIMPLE_TEXT_OUTPUT_PROTOCOL.TestString", "UEFI 2.10 §12.4.4")
def test_string(efi: Environment, this: Pointer, string: str) -> None:
    """Tell whether all of `string` can be shown.

    UNSUPPORTED: it holds lone surrogates or control characters without a meaning.
    """
    if not all(_shown(character) for character in string):
        raise EfiError(EfiStatus.UNSUPPORTED, "a character that cannot be shown")


@service("EFI_SIMPLE_TEXT_OUTPUT_PROTOCOL.QueryMode", "UEFI 2.10 §12.4.5")
def query_mode(
    efi: Environment, this: Pointer, mode_number: UINTN, columns: Out[UINTN], rows: Out[UINTN]
) -> None:
    """Give the size of mode 0, the only one.

    UNSUPPORTED: any other mode.
    """
    _only_mode(mode_number)
    columns.set(COLUMNS)
    rows.set(ROWS)


@service("EFI_SIMPLE_TEXT_OUTPUT_PROTOCOL.SetMode", "UEFI 2.10 §12.4.6")
def set_mode(efi: Environment, this: Pointer, mode_number: UINTN) -> None:
    """Choose mode 0, the only one, and clear the screen.

    UNSUPPORTED: any other mode.
    """
    _only_mode(mode_number)
    clear_screen(efi, this)


def _only_mode(number: int) -> None:
    if number:
        raise EfiError(EfiStatus.UNSUPPORTED, f"mode {number}: there is only mode 0, {COLUMNS} by {ROWS}")


@service("EFI_SIMPLE_TEXT_OUTPUT_PROTOCOL.SetAttribute", "UEFI 2.10 §12.4.7")
def set_attribute(efi: Environment, this: Pointer, attribute: UINTN) -> None:
    """Choose the colours of further text.

    UNSUPPORTED: bits that are no colour.
    """
    if attribute & ~_ATTRIBUTE_MASK:
        raise EfiError(EfiStatus.UNSUPPORTED, f"attribute {attribute:#x}: only bits 0 to 6 are colours")
    _set_mode(efi, this, replace(_mode(efi, this), attribute=attribute))
    foreground = (90 if attribute & 8 else 30) + _SGR_COLOURS[attribute & 7]
    background = 40 + _SGR_COLOURS[attribute >> 4 & 7]
    if attribute == _LIGHT_GREY_ON_BLACK:
        efi.surroundings.console("\x1b[0m")
    else:
        efi.surroundings.console(f"\x1b[{foreground};{background}m")


@service("EFI_SIMPLE_TEXT_OUTPUT_PROTOCOL.ClearScreen", "UEFI 2.10 §12.4.8")
def clear_screen(efi: Environment, this: Pointer) -> None:
    """Clear the screen and put the cursor at its upper left."""
    _set_mode(efi, this, replace(_mode(efi, this), cursor_column=0, cursor_row=0))
    efi.surroundings.console("\x1b[2J\x1b[H")


@service("EFI_SIMPLE_TEXT_OUTPUT_PROTOCOL.SetCursorPosition", "UEFI 2.10 §12.4.9")
def set_cursor_position(efi: Environment, this: Pointer, column: UINTN, row: UINTN) -> None:
    """Move the cursor.

    UNSUPPORTED: a place outside the screen.
    """
    if column >= COLUMNS or row >= ROWS:
        raise EfiError(EfiStatus.UNSUPPORTED, f"column {column}, row {row} lie outside {COLUMNS} by {ROWS}")
    _set_mode(efi, this, replace(_mode(efi, this), cursor_column=column, cursor_row=row))
    efi.surroundings.console(f"\x1b[{row + 1};{column + 1}H")


@service("EFI_SIMPLE_TEXT_OUTPUT_PROTOCOL.EnableCursor", "UEFI 2.10 §12.4.10")
def enable_cursor(efi: Environment, this: Pointer, visible: BOOLEAN) -> None:
    """Show or hide the cursor."""
    _set_mode(efi, this, replace(_mode(efi, this), cursor_visible=int(visible)))
    efi.surroundings.console("\x1b[?25h" if visible else "\x1b[?25l")
