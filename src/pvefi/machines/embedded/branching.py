# SPDX-License-Identifier: GPL-2.0-or-later
"""An embedded machine whose process may fork while a doorbell is being answered: parent and child both go on.

A fork copies the thread that calls it and no other, so the CPU runs in the caller's. What it shares with its
parent is nothing: RAM is private to each process, and the CPU is memory of the process too.
"""

from __future__ import annotations

from collections.abc import Callable

from pvefi.guest.mailbox import Answer, Request
from pvefi.machines.embedded.guest import EmbeddedGuest
from pvefi.machines.embedded.machine import EmbeddedMachine
from pvefi.machines.machine import Look
from pvefi.machines.stop import Stop

__all__ = ["BranchingGuest", "BranchingMachine"]


class BranchingGuest(EmbeddedGuest):
    """A guest that runs in the thread of who runs it; otherwise as any embedded one.

    Nothing in this process can end its run: who forks it bounds its time, and no signal may have a handler
    in Python, since that could run within the CPU's hooks, which pass no exception on.
    """

    def run(
        self, answer: Callable[[Request], Answer], timeout: float | None, look: Look | None = None
    ) -> Stop:
        """Run the CPU until it stops; `timeout` is left to who started the process."""
        self._begin(answer)
        self._emulate()
        return self._result()


class BranchingMachine(EmbeddedMachine):
    """The embedded machine with guests that may be forked."""

    _guest = BranchingGuest
