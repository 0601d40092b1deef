# SPDX-License-Identifier: GPL-2.0-or-later
"""Stops a guest at watchpoints, by QEMU's debugger stub."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping

from pvefi.machines.qemu.gdb import Gdb
from pvefi.machines.stop import Watchpoint
from pvefi.memory import GuestMemory

__all__ = ["Watching"]


class Watching:
    """The watchpoints of one guest. None is armed, and nothing costs anything, before `arm`.

    Watchpoints are at guest physical addresses, and reached where these are mapped one to one.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._gdb = Gdb(connection)
        self._thread = 1
        self._attached = False
        self._pending: list[Watchpoint] = []
        self._armed: dict[int, list[Watchpoint]] = {}

    def fileno(self) -> int:
        """Return the descriptor that is readable when the guest has stopped."""
        return self._gdb.fileno()

    @property
    def wanted(self) -> bool:
        """Whether there are watchpoints to arm."""
        return bool(self._pending)

    def add(self, watchpoints: Iterable[Watchpoint]) -> None:
        """Take watchpoints in, to be armed by the next `arm`."""
        self._pending += watchpoints

    def arm(self) -> None:
        """Arm what was taken in; the guest may run meanwhile. MachineError when QEMU refuses."""
        if not self._pending:
            return
        self._attach()
        self._gdb.insert(watchpoint.address for watchpoint in self._pending)
        for watchpoint in self._pending:
            self._armed.setdefault(watchpoint.address, []).append(watchpoint)
        self._pending = []
        self._gdb.resume()

    def stopped(self, memory: GuestMemory) -> Watchpoint | None:
        """Return the watchpoint at which the guest has stopped; None when it has not, and runs on."""
        stop = self._gdb.feed()
        while stop is not None and not stop.ended:
            self._thread = stop.thread
            address = self._gdb.registers(stop.thread)["rip"]
            for watchpoint in self._armed.get(address, ()):
                if memory.contiguous(address) < watchpoint.size:
                    continue
                if watchpoint.matches(memory.read(address, watchpoint.size)):
                    self._armed[address].remove(watchpoint)
                    if not self._armed[address]:
                        self._gdb.remove([address])
                    return watchpoint
            stop = self._gdb.resume()
        return None

    def resume(self) -> None:
        """Let a guest run on that has stopped at a watchpoint, or for its registers."""
        if self._attached and not self._gdb.running:
            self._gdb.resume()

    def registers(self) -> Mapping[str, int]:
        """Return the registers of the CPU that stopped last; a guest that runs is stopped for it."""
        if not self._attached:
            self._attach()
        elif self._gdb.running:
            self._thread = self._gdb.interrupt().thread
        return self._gdb.registers(self._thread)

    def _attach(self) -> None:
        self._thread = self._gdb.attach().thread
        self._attached = True

    def close(self) -> None:
        """Let go of the debugger."""
        self._gdb.close()
