# SPDX-License-Identifier: GPL-2.0-or-later
"""Keys — UEFI 2.10 §12.3.3 and Appendix B."""

from __future__ import annotations

from pvefi.layout import U16, OpenEnum, Structure, layout

__all__ = ["InputKey", "ScanCode"]


@layout(size=4)
class InputKey(Structure):
    """EFI_INPUT_KEY — UEFI 2.10 §12.3.3: one of the two is 0."""

    scan_code: U16
    unicode_char: U16


class ScanCode(OpenEnum):
    """EFI scan codes of keys that give no character — UEFI 2.10 Appendix B.1."""

    NULL = 0x00
    UP = 0x01
    DOWN = 0x02
    RIGHT = 0x03
    LEFT = 0x04
    HOME = 0x05
    END = 0x06
    INSERT = 0x07
    DELETE = 0x08
    PAGE_UP = 0x09
    PAGE_DOWN = 0x0A
    F1 = 0x0B
    F2 = 0x0C
    F3 = 0x0D
    F4 = 0x0E
    F5 = 0x0F
    F6 = 0x10
    F7 = 0x11
    F8 = 0x12
    F9 = 0x13
    F10 = 0x14
    F11 = 0x15
    F12 = 0x16
    ESC = 0x17
