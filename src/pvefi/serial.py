# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes text of what a guest writes to its serial port; a guest must not steer the user's terminal."""

from __future__ import annotations

import codecs

__all__ = ["SerialDecoder", "visible"]

_KEPT = b"\b\t\n\r"
_PICTURES = {code: 0x2400 + code for code in range(0x20) if code not in _KEPT}  # Unicode "Control Pictures"
_PICTURES |= dict.fromkeys(range(127, 160), 0xFFFD)


class SerialDecoder:
    """Reads bytes as UTF-8, in whatever pieces they come; one that is no text becomes U+FFFD."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def text(self, data: bytes, *, final: bool = False) -> str:
        """Return the text of further bytes; the start of a character waits for its rest, unless `final`."""
        return self._decoder.decode(data, final)


def visible(text: str) -> str:
    """Return `text` with every control character that is no layout made visible."""
    return text.translate(_PICTURES)
