# SPDX-License-Identifier: GPL-2.0-or-later
"""An ioreq server of a domain: its I/O ports, its page with a slot for each vCPU, its event channels.

Xen keeps the server until it is destroyed, or its domain is, whoever made it: a process that takes over from
one that has died adopts it, and finds in the slots what was asked and not yet answered.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import NamedTuple

from pvefi.errors import GuestFault, MachineError
from pvefi.machines.xen.libraries import PAGE_SIZE, DeviceModel, EventChannels, ForeignMemory, Libraries
from pvefi.memory import GuestMemory
from pvefi.spec.xen.ioreq import (
    FLAG_DATA_IS_PTR,
    FLAG_DF,
    FLAG_READ,
    STATE_MASK,
    XENMEM_RESOURCE_IOREQ_SERVER,
    XENMEM_RESOURCE_IOREQ_SERVER_FRAME_IOREQ,
    Ioreq,
    IoreqState,
)

__all__ = ["IoRequest", "IoreqServer"]

_SLOT = struct.Struct("<QQIIIHBB")
_SLOTS = PAGE_SIZE // Ioreq.SIZE
_WORDS = Ioreq.SIZE // 8
_DATA = Ioreq.offset_of("data") // 8
_FLAGS = Ioreq.offset_of("flags")
_RESPONSE = int(IoreqState.RESPONSE_READY)
_WAITS = (IoreqState.READY, IoreqState.INPROCESS)
_WIDEST = 8  # bytes of one access


class IoRequest(NamedTuple):
    """A slot as it was when the request was taken: struct ioreq, whose `count` is `repeats`.

    All of it may be the guest's choice.
    """

    addr: int
    data: int
    repeats: int
    size: int
    vp_eport: int
    pad0: int
    flags: int
    type: int

    @property
    def reads(self) -> bool:
        """Whether the guest waits for a value."""
        return bool(self.flags & FLAG_READ)

    @property
    def data_is_ptr(self) -> bool:
        """Whether `data` is a guest physical address."""
        return bool(self.flags & FLAG_DATA_IS_PTR)


class IoreqServer:
    """Server `identity` of domain `domid`; made by `create` or `adopt`.

    Nothing is asked of it before `open`, which maps its page and has Xen use it, and nothing is heard before
    `bind`. MachineError where Xen refuses.
    """

    def __init__(self, libraries: Libraries, model: DeviceModel, domid: int, identity: int) -> None:
        self.domid = domid
        self.identity = identity
        self._libraries = libraries
        self._model = model
        self._memory: ForeignMemory | None = None
        self._page = self._words = memoryview(b"")
        self._channels: EventChannels | None = None
        self._vcpu_of: dict[int, int] = {}
        self._port_of: dict[int, int] = {}

    @classmethod
    def create(cls, libraries: Libraries, domid: int) -> IoreqServer:
        """Make a server for a domain, which is to be paused: Xen stops it meanwhile."""
        model = libraries.device_model()
        try:
            return cls(libraries, model, domid, model.create_ioreq_server(domid))
        except BaseException:
            model.close()
            raise

    @classmethod
    def adopt(cls, libraries: Libraries, domid: int, identity: int) -> IoreqServer:
        """Take over a server that another process of this domain has made."""
        return cls(libraries, libraries.device_model(), domid, identity)

    def map_ports(self, first: int, last: int) -> None:
        """Get what the guest does at I/O ports `first` to `last`."""
        self._model.map_ports(self.domid, self.identity, first, last)

    def open(self) -> None:
        """Map the server's page and have Xen send requests."""
        self._memory = self._libraries.foreign_memory()
        self._page = self._memory.map_resource(
            self.domid,
            XENMEM_RESOURCE_IOREQ_SERVER,
            self.identity,
            XENMEM_RESOURCE_IOREQ_SERVER_FRAME_IOREQ,
        )
        self._words = self._page.cast("Q")
        self._model.set_ioreq_server_state(self.domid, self.identity, enabled=True)

    def bind(self) -> None:
        """Join the event channel of each vCPU that has a slot.

        One process at a time can; what was asked before, `outstanding` tells, and nothing else does.
        """
        channels = self._libraries.event_channels()
        self._channels = channels
        for vcpu in range(_SLOTS):
            if remote := self._slot(vcpu).vp_eport:
                port = channels.bind(self.domid, remote)
                self._vcpu_of[port] = vcpu
                self._port_of[vcpu] = port

    def fileno(self) -> int:
        """Return the descriptor that is readable when `take` may have something."""
        assert self._channels is not None, "bound"
        return self._channels.fileno()

    def take(self) -> tuple[int, IoRequest] | None:
        """Return the vCPU that has rung, and its request; None where it has been answered meanwhile."""
        assert self._channels is not None, "bound"
        vcpu = self._vcpu_of.get(self._channels.pending())
        if vcpu is None:
            return None
        return self.take_next(vcpu)

    def take_next(self, vcpu: int) -> tuple[int, IoRequest] | None:
        """Return a vCPU and what it asks, None for nothing, without a look at its event channel.

        What is taken like this leaves its event behind, by which `take` finds what is in the slot then.
        """
        request = self._slot(vcpu)
        return (vcpu, request) if request.flags & STATE_MASK in _WAITS else None

    def _slot(self, vcpu: int) -> IoRequest:
        return IoRequest._make(_SLOT.unpack_from(self._page, vcpu * Ioreq.SIZE))

    def outstanding(self) -> list[tuple[int, IoRequest]]:
        """Return every vCPU that stands still for an answer, and its request."""
        slots = [(vcpu, self._slot(vcpu)) for vcpu in range(_SLOTS)]
        return [(vcpu, slot) for vcpu, slot in slots if slot.vp_eport and slot.flags & STATE_MASK in _WAITS]

    def answered(self) -> list[int]:
        """Return every vCPU that has its answer, and may not have been told."""
        slots = [(vcpu, self._slot(vcpu)) for vcpu in self._port_of]
        return [vcpu for vcpu, slot in slots if slot.flags & STATE_MASK == _RESPONSE]

    def complete(self, vcpu: int, data: int | None = None) -> None:
        """Let a vCPU go on; `data` is what it has read, of 8 bytes at most.

        STATE_IOREQ_INPROCESS is left out: nobody but Xen looks, and Xen only wants states to go forward.
        """
        if data is not None:
            self._words[vcpu * _WORDS + _DATA] = data
        at = vcpu * Ioreq.SIZE + _FLAGS
        self._page[at] = self._page[at] & ~STATE_MASK | _RESPONSE
        self.notify(vcpu)

    def notify(self, vcpu: int) -> None:
        """Tell a vCPU that it has its answer, if that is news: Xen may have taken the answer meanwhile."""
        assert self._channels is not None, "bound"
        self._channels.notify(self._port_of[vcpu])

    def complete_plainly(self, vcpu: int, request: IoRequest, memory: GuestMemory) -> None:
        """Answer as a bus does where nothing is: reads are all ones, writes go nowhere.

        What the guest has as size and count costs no more than a page.
        """
        data = None
        if request.reads and request.data_is_ptr:
            size = min(request.size * request.repeats, PAGE_SIZE)
            down = (request.repeats - 1) * request.size if request.flags & FLAG_DF else 0
            with suppress(GuestFault):
                memory.fill(request.data - down, size, 0xFF)
        elif request.reads:
            data = (1 << 8 * min(request.size, _WIDEST)) - 1
        self.complete(vcpu, data)

    def close(self) -> None:
        """Let go of page and event channels; the server itself stays, and its requests wait."""
        if self._channels is not None:
            self._channels.close()
        self._channels = None
        self._vcpu_of, self._port_of = {}, {}
        self._words.release()
        self._page.release()
        if self._memory is not None:
            self._memory.unmap_resource()
            self._memory.close()
        self._model.close()

    def destroy(self) -> None:
        """End the server, in Xen too; Xen wakes no vCPU that waits for it."""
        with suppress(MachineError):  # the domain has gone, and the server with it
            self._model.destroy_ioreq_server(self.domid, self.identity)
        self.close()
