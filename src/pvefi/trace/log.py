# SPDX-License-Identifier: GPL-2.0-or-later
"""Keeps a boot's calls in memory: all of them, unless a guest makes so many that it must be bounded."""

from __future__ import annotations

from collections import deque

from pvefi.trace.events import CallEvent

__all__ = ["CallLog"]

FIRST = 50_000
"""Calls kept from the start; a session in the EDK2 shell makes about 20,000."""
LAST = 1_000
"""Calls kept from the end, once there are more."""
TEXT = 16 << 20
"""Characters of text kept with the first calls; a guest may call with nothing but long strings."""


class CallLog:
    """The calls of one boot, in the order in which they ended; `made` counts those left out too."""

    def __init__(self) -> None:
        self.made = 0
        self._text = 0
        self._first: list[CallEvent] = []
        self._last: deque[CallEvent] = deque(maxlen=LAST)

    def append(self, event: CallEvent) -> None:
        """Keep `event`, perhaps at the cost of one from the middle."""
        self.made += 1
        self._text += len(event.why) + sum(
            len(value) for _, value in event.arguments if isinstance(value, str)
        )
        if len(self._first) < FIRST and self._text < TEXT:
            self._first.append(event)
        else:
            self._last.append(event)

    def kept(self) -> tuple[CallEvent, ...]:
        """Return the calls that were kept: the first ones and the last ones."""
        return (*self._first, *self._last)
