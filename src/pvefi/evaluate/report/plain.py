# SPDX-License-Identifier: GPL-2.0-or-later
"""Text from guests and files as a report may show it: bounded, and with nothing that moves what is around.

What a format makes of letters that have a meaning in it is the format's own affair.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pvefi.trace.spelling import escaped

__all__ = ["names_apart", "plain", "slug"]

_SLUG_AT_MOST = 60


def plain(text: str, limit: int) -> str:
    """Return `text` in at most about `limit` characters, letters that do not print as their escapes."""
    if len(text) <= limit:
        return escaped(text)
    return f"{escaped(text[:limit])} … ({len(text) - limit:,} more characters)"


def slug(text: str) -> str:
    """Return `text` as part of a file's name or an anchor: small letters, digits and hyphens; never empty."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower())[:_SLUG_AT_MOST].strip("-") or "part"


def names_apart(names: list[str]) -> Iterator[str]:
    """Yield `names` in their order, one that was there before with a number behind it."""
    seen: set[str] = set()
    for name in names:
        one, number = name, 1
        while one in seen:
            number += 1
            one = f"{name}-{number}"
        seen.add(one)
        yield one
