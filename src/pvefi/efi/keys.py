# SPDX-License-Identifier: GPL-2.0-or-later
"""Keys that somebody types at the host's terminal, made of what the terminal sends.

Sources: UEFI 2.10 §12.3.3 and Appendix B for keys; ECMA-48 and xterm's ctlseqs for what terminals send.
"""

from __future__ import annotations

import codecs
from collections import deque
from collections.abc import Callable, Mapping
from types import MappingProxyType

from pvefi.spec.uefi.keys import InputKey, ScanCode

__all__ = ["Keys"]

_ESCAPE = "\x1b"
_CHARACTERS: Mapping[str, str] = MappingProxyType({"\n": "\r", "\x7f": "\b"})
"""What terminals and pipes send for Return and Backspace, and what EFI has for them."""
_SEQUENCES: Mapping[str, ScanCode] = MappingProxyType(
    {
        "A": ScanCode.UP,
        "B": ScanCode.DOWN,
        "C": ScanCode.RIGHT,
        "D": ScanCode.LEFT,
        "H": ScanCode.HOME,
        "F": ScanCode.END,
        "P": ScanCode.F1,
        "Q": ScanCode.F2,
        "R": ScanCode.F3,
        "S": ScanCode.F4,
        "1~": ScanCode.HOME,
        "2~": ScanCode.INSERT,
        "3~": ScanCode.DELETE,
        "4~": ScanCode.END,
        "5~": ScanCode.PAGE_UP,
        "6~": ScanCode.PAGE_DOWN,
        "7~": ScanCode.HOME,
        "8~": ScanCode.END,
        "15~": ScanCode.F5,
        "17~": ScanCode.F6,
        "18~": ScanCode.F7,
        "19~": ScanCode.F8,
        "20~": ScanCode.F9,
        "21~": ScanCode.F10,
        "23~": ScanCode.F11,
        "24~": ScanCode.F12,
    }
)
_LONGEST = 8  # characters of a sequence behind its introducer
_KEPT = 1024  # keys; more than anybody types ahead


class Keys:
    """The keys typed and not yet read; `typed` takes what was typed since, None when that will be no more."""

    def __init__(self, typed: Callable[[], bytes | None]) -> None:
        self._typed = typed
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._keys: deque[InputKey] = deque(maxlen=_KEPT)
        self._over = False
        self.wait_for_key = 0

    def ready(self) -> bool:
        """Return whether there is a key to read."""
        self._look()
        return bool(self._keys)

    def may_signal(self, event: int) -> bool:
        """Return whether `event` is WaitForKey and somebody may still type."""
        return event == self.wait_for_key and not self._over

    def read(self) -> InputKey | None:
        """Return the next key, None when there is none now."""
        return self._keys.popleft() if self.ready() else None

    def clear(self) -> None:
        """Forget what was typed."""
        self._look()
        self._keys.clear()

    def _look(self) -> None:
        if self._over:
            return
        typed = self._typed()
        self._over = typed is None
        text = self._decoder.decode(typed or b"", final=self._over)
        while text:
            key, text = _first_key(text)
            if key is not None:
                self._keys.append(key)


def _first_key(text: str) -> tuple[InputKey | None, str]:
    """Return the key at the start of `text`, None for one that EFI does not have, and the rest of `text`."""
    if text[0] != _ESCAPE:
        character, rest = _CHARACTERS.get(text[0], text[0]), text[1:]
        code = ord(character)
        return (InputKey(ScanCode.NULL, code) if 0 < code <= 0xFFFF else None), rest
    if text[1:2] not in ("[", "O"):
        return InputKey(ScanCode.ESC, 0), text[1:]
    for end in range(3, min(len(text), _LONGEST) + 1):
        if "@" <= text[end - 1] <= "~":
            scan = _SEQUENCES.get(text[2:end])
            return (None if scan is None else InputKey(scan, 0)), text[end:]
    return InputKey(ScanCode.ESC, 0), text[1:]
