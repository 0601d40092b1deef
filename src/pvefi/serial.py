# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes text of what a guest writes to its serial port; a guest must not steer the user's terminal."""

from __future__ import annotations

__all__ = ["visible"]

_KEPT = b"\b\t\n\r"
_PICTURES = {code: 0x2400 + code for code in range(0x20) if code not in _KEPT}  # Unicode "Control Pictures"
_PICTURES |= dict.fromkeys(range(127, 160), 65533)


def visible(data: bytes) -> str:
    """Return `data`, read as Latin-1, with every control character that is no layout made visible."""
    return data.decode("latin-1").translate(_PICTURES)
