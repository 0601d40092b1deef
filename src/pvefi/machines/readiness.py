# SPDX-License-Identifier: GPL-2.0-or-later
"""Calls back when descriptors are ready."""

from __future__ import annotations

import select
from collections.abc import Callable

__all__ = ["Readiness", "is_ready"]


def is_ready(descriptor: int, seconds: float, event: int = select.POLLIN) -> bool:
    """Wait at most `seconds` until `descriptor` can be read, or what `event` of poll(2) says; whether it can.

    Unlike select(2) this takes descriptors of any number.
    """
    poll = select.poll()
    poll.register(descriptor, event)
    return bool(poll.poll(seconds * 1000))


class Readiness:
    """Descriptors that are waited for together, each with what to call when it can be read, or written."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._ready: dict[int, Callable[[], None]] = {}

    def __contains__(self, descriptor: int) -> bool:
        return descriptor in self._ready

    def watch(self, descriptor: int, ready: Callable[[], None]) -> None:
        """Have `ready` called whenever `descriptor` can be read, or has ended."""
        self._ready[descriptor] = ready
        self._poll.register(descriptor, select.POLLIN)

    def watch_writing(self, descriptor: int, *, wanted: bool) -> None:
        """Have a descriptor that is watched called back also when it can be written, or not any more."""
        if descriptor in self._ready:
            self._poll.modify(descriptor, select.POLLIN | (select.POLLOUT if wanted else 0))

    def forget(self, descriptor: int) -> None:
        """Watch `descriptor` no longer."""
        if self._ready.pop(descriptor, None):
            self._poll.unregister(descriptor)

    def serve(self, milliseconds: float | None, go_on: Callable[[], bool]) -> None:
        """Wait, None without end, and call back for all that is ready, as long as `go_on` says so."""
        for descriptor, _ in self._poll.poll(milliseconds):
            if go_on() and descriptor in self._ready:
                self._ready[descriptor]()
