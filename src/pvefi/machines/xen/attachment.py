# SPDX-License-Identifier: GPL-2.0-or-later
"""pvefi as the device model of one domain: what it has of it, from the ioreq server to the mailbox."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from pvefi.errors import GuestFault, MachineError
from pvefi.guest.mailbox import DOORBELL_PORT, Mailbox
from pvefi.guest.trampoline import Trampoline
from pvefi.machines.xen.foreign_memory import DomainMemory
from pvefi.machines.xen.ioreq_server import IoreqServer
from pvefi.machines.xen.libraries import Libraries
from pvefi.memory import GuestMemory
from pvefi.spec.xen.start_info import HvmMemmapTableEntry

__all__ = ["COM1", "EXIT_PORT", "Attachment", "make_server"]

COM1 = 0x3F8
"""The first serial port of a PC, on which the trampoline says that it gives up: what it transmits."""
EXIT_PORT = 0x522
"""What the trampoline then writes to: trampoline.S, EXIT_PORT."""


def make_server(libraries: Libraries, domid: int) -> IoreqServer:
    """Return a new ioreq server of a domain, which gets all that the trampoline and the gates write to."""
    server = IoreqServer.create(libraries, domid)
    try:
        server.map_ports(DOORBELL_PORT, EXIT_PORT)
        server.map_ports(COM1, COM1)
    except BaseException:
        server.destroy()
        raise
    return server


class Attachment:
    """Domain `server.domid` as far as its guest's device model sees it; MachineError where Xen refuses.

    `memory_size` is in bytes; that much, at most, is looked at until `place` knows better. A server whose
    attachment cannot be made is still the caller's.
    """

    def __init__(
        self, libraries: Libraries, server: IoreqServer, trampoline: Trampoline, memory_size: int
    ) -> None:
        self._trampoline = trampoline
        self._memory = DomainMemory(libraries, server.domid, memory_size)
        self._stale = False
        self.server = server
        with contextlib.ExitStack() as undo:
            undo.callback(self._memory.close)
            server.open()
            server.bind()
            self._own = self._memory.part(*trampoline.mailbox)
            try:
                self.mailbox = Mailbox(self._own.view(*trampoline.mailbox))
            except GuestFault as fault:
                raise MachineError(f"domain {server.domid} has no EFI any more: {fault.message}") from fault
            undo.pop_all()

    @property
    def memory(self) -> GuestMemory:
        """The guest's memory."""
        return self._memory.memory

    def place(self, memory_map: Iterable[HvmMemmapTableEntry]) -> GuestMemory:
        """Return all memory of the guest, now that its own `memory_map` tells where it is."""
        return self._memory.place(memory_map)

    def forget(self) -> None:
        """Let go of all memory that is mapped, until it is looked at again."""
        self._memory.forget()
        self._stale = True

    def reach_mailbox(self) -> None:
        """Have the mailbox mapped; GuestFault where the guest has none any more."""
        if self._stale:
            self._own.storable(*self._trampoline.mailbox)
            self._stale = False

    def close(self, *, destroy: bool = True) -> None:
        """Let go of everything; the ioreq server stays with its domain unless `destroy` says so."""
        with contextlib.ExitStack() as ends:
            ends.callback(self._memory.close)
            ends.callback(self.server.destroy if destroy else self.server.close)
