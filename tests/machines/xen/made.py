# SPDX-License-Identifier: GPL-2.0-or-later
"""A Xen that is not there: a domain's pages are a memory file, mapped as Xen's libraries map them.

What a device model has mapped is told by the kernel's own list of this process's mappings.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pvefi.errors import MachineError
from pvefi.guest import Trampoline, load_trampoline
from pvefi.guest.mailbox import DOORBELL_PORT, Answer, MailboxLayout, Request
from pvefi.machines import Stop
from pvefi.machines.xen.attachment import Attachment, make_server
from pvefi.machines.xen.ends import DomainEnd
from pvefi.machines.xen.guest import XenGuest
from pvefi.machines.xen.libraries import (
    PAGE_SIZE,
    DeviceModel,
    EventChannels,
    ForeignMemory,
    Libraries,
    Window,
)
from pvefi.spec.xen.ioreq import FLAG_READ, STATE_MASK, Ioreq, IoreqState, IoreqType

MIB = 1 << 20
RAM_SIZE = 16 * MIB
_EINVAL = -22
_FLAGS = Ioreq.offset_of("flags")
_FIRST_REMOTE_PORT, _FIRST_LOCAL_PORT = 100, 7


class FakeXen:
    """One domain with `vcpus` vCPUs, as Xen keeps it: pages, ioreq servers, event channels."""

    def __init__(self, vcpus: int = 4, domid: int = 5, high: int = 0) -> None:
        self.domid = domid
        self.vcpus = vcpus
        self.file = os.memfd_create(f"domain-{os.getpid()}-{id(self)}")
        self.name = str(Path(f"/proc/self/fd/{self.file}").readlink())
        os.ftruncate(self.file, RAM_SIZE + high)
        self.ram = mmap.mmap(self.file, RAM_SIZE + high)
        self.absent: set[int] = set()
        self.page = bytearray(PAGE_SIZE)
        self.servers: dict[int, list[tuple[int, int]]] = {}
        self.enabled: set[int] = set()
        self.bound: dict[int, int] = {}
        self.notified: list[int] = []
        self.on_notify: Callable[[int], None] = lambda _vcpu: None
        self.gone = False
        self._events: deque[int] = deque()
        self._descriptor = os.eventfd(0, os.EFD_NONBLOCK)

    # ---------------------------------------------------------------- what the guest does

    def ask(self, vcpu: int, request: Ioreq, state: int = IoreqState.READY) -> None:
        """Have a vCPU ask; it stands still until its slot says RESPONSE_READY."""
        data = bytearray(request.pack())
        data[_FLAGS] = data[_FLAGS] & ~STATE_MASK | state
        struct.pack_into("<I", data, Ioreq.offset_of("vp_eport"), _FIRST_REMOTE_PORT + vcpu)
        self.page[vcpu * Ioreq.SIZE : (vcpu + 1) * Ioreq.SIZE] = data
        self._events.append(vcpu)
        os.eventfd_write(self._descriptor, 1)

    def slot(self, vcpu: int) -> Ioreq:
        return Ioreq.unpack(self.page, vcpu * Ioreq.SIZE)

    def state(self, vcpu: int) -> IoreqState:
        return IoreqState(self.slot(vcpu).flags & STATE_MASK)

    def ring(self, vcpu: int = 0, *, trampoline: Trampoline, **words: int) -> None:
        """Have a vCPU ring the doorbell as a gate does."""
        start = trampoline.mailbox[0]
        words.setdefault("seq", self.word(trampoline, "seq") + 1)
        for name, value in words.items():
            struct.pack_into("<Q", self.ram, start + MailboxLayout.offset_of(name), value)
        self.ask(vcpu, port_write(DOORBELL_PORT, words["seq"] & 0xFF))

    def word(self, trampoline: Trampoline, name: str) -> int:
        at = trampoline.mailbox[0] + MailboxLayout.offset_of(name)
        word: int = struct.unpack_from("<Q", self.ram, at)[0]
        return word

    def mapped(self) -> int:
        """Return how many bytes of the domain's memory this process maps besides the test's own view."""
        total = -len(self.ram)
        for line in Path("/proc/self/maps").read_text().splitlines():
            if line.endswith(self.name):
                first, last = (int(part, 16) for part in line.split()[0].split("-"))
                total += last - first
        return total

    # ---------------------------------------------------------------- what Xen does

    def take_event(self) -> int:
        os.eventfd_read(self._descriptor)
        vcpu = self._events.popleft()
        if self._events:
            os.eventfd_write(self._descriptor, 1)
        return vcpu

    def close(self) -> None:
        self.ram.close()
        os.close(self.file)
        os.close(self._descriptor)

    @property
    def descriptor(self) -> int:
        return self._descriptor


def port_write(port: int, value: int, size: int = 1) -> Ioreq:
    return Ioreq(port, value, 1, size, 0, 0, 0, IoreqType.PIO)


def port_read(port: int, size: int = 1) -> Ioreq:
    return Ioreq(port, 0, 1, size, 0, 0, FLAG_READ, IoreqType.PIO)


class _DeviceModel(DeviceModel):
    def __init__(self, xen: FakeXen) -> None:
        self._xen = xen

    def create_ioreq_server(self, domid: int) -> int:
        assert domid == self._xen.domid
        identity = len(self._xen.servers)
        self._xen.servers[identity] = []
        return identity

    def map_ports(self, domid: int, identity: int, first: int, last: int) -> None:
        self._xen.servers[identity].append((first, last))

    def set_ioreq_server_state(self, domid: int, identity: int, *, enabled: bool) -> None:
        assert enabled
        self._xen.enabled.add(identity)
        for vcpu in range(self._xen.vcpus):
            at = vcpu * Ioreq.SIZE + Ioreq.offset_of("vp_eport")
            struct.pack_into("<I", self._xen.page, at, _FIRST_REMOTE_PORT + vcpu)

    def destroy_ioreq_server(self, domid: int, identity: int) -> None:
        if self._xen.servers.pop(identity, None) is None:
            raise MachineError("there is no such ioreq server")

    def close(self) -> None:
        pass


class _ForeignMemory(ForeignMemory):
    def __init__(self, xen: FakeXen) -> None:
        self._xen = xen
        self._closed = False
        self._mmap = ctypes.CDLL(None, use_errno=True).mmap
        self._mmap.restype = ctypes.c_void_p
        self._mmap.argtypes = (
            ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long
        )  # fmt: skip

    def show(self, window: Window, offset: int, domid: int, gfn: int, count: int) -> Sequence[int]:
        assert not self._closed, "the library would crash"
        if self._xen.gone:
            raise MachineError(f"domain {domid}: its memory cannot be mapped")
        return [self._one(window, offset + at * PAGE_SIZE, gfn + at) for at in range(count)]

    def _one(self, window: Window, offset: int, gfn: int) -> int:
        at = gfn * PAGE_SIZE
        if at >= 4 << 30:
            at = at - (4 << 30) + RAM_SIZE
        elif at >= RAM_SIZE:
            return _EINVAL
        if gfn in self._xen.absent or at >= len(self._xen.ram):
            return _EINVAL
        assert offset + PAGE_SIZE <= window.size
        flags = mmap.MAP_SHARED | 0x10  # MAP_FIXED
        protection = mmap.PROT_READ | mmap.PROT_WRITE
        where = self._mmap(window.address + offset, PAGE_SIZE, protection, flags, self._xen.file, at)
        assert where == window.address + offset
        return 0

    def map_resource(self, domid: int, kind: int, identity: int, frame: int) -> memoryview:
        assert (kind, frame) == (0, 1), "the page of synchronous requests"
        assert identity in self._xen.servers
        return memoryview(self._xen.page)

    def unmap_resource(self) -> None:
        pass

    def close(self) -> None:
        self._closed = True


class _EventChannels(EventChannels):
    def __init__(self, xen: FakeXen) -> None:
        self._xen = xen
        self._vcpu_of: dict[int, int] = {}

    def fileno(self) -> int:
        return self._xen.descriptor

    def bind(self, domid: int, remote_port: int) -> int:
        vcpu = remote_port - _FIRST_REMOTE_PORT
        assert remote_port not in self._xen.bound, "one process at a time can"
        port = _FIRST_LOCAL_PORT + 3 * vcpu
        self._xen.bound[remote_port] = port
        self._vcpu_of[port] = vcpu
        return port

    def pending(self) -> int:
        return _FIRST_LOCAL_PORT + 3 * self._xen.take_event()

    def notify(self, port: int) -> None:
        vcpu = self._vcpu_of[port]
        waits = (IoreqState.READY, IoreqState.INPROCESS)
        assert self._xen.state(vcpu) not in waits, "the answer comes before the notification"
        self._xen.notified.append(vcpu)
        self._xen.on_notify(vcpu)

    def close(self) -> None:
        self._xen.bound.clear()


class FakeLibraries(Libraries):
    """The libraries of a host on which `xen` runs; windows are the real ones."""

    def __init__(self, xen: FakeXen) -> None:
        self.xen = xen

    def device_model(self) -> DeviceModel:
        return _DeviceModel(self.xen)

    def foreign_memory(self) -> ForeignMemory:
        return _ForeignMemory(self.xen)

    def event_channels(self) -> EventChannels:
        return _EventChannels(self.xen)


class FakeDomain:
    """The domain as its tool stack has it; `terminal` is the far end of its console."""

    def __init__(self, xen: FakeXen) -> None:
        self.xen = xen
        self.domid = xen.domid
        self.name = "guest"
        self.running = False
        self.destroyed = False
        self.mapped_at_its_end = 0
        self._end: DomainEnd | None = None
        self._events = os.eventfd(0, os.EFD_NONBLOCK)
        self._console, self.terminal = os.openpty()

    def unpause(self) -> None:
        self.running = True

    def destroy(self) -> None:
        self.destroyed = True
        self.mapped_at_its_end = self.xen.mapped()

    def ends(self, end: DomainEnd) -> None:
        """Have it end."""
        self._end = end
        os.eventfd_write(self._events, 1)

    def end(self) -> DomainEnd | None:
        return self._end

    def fileno(self) -> int:
        return self._events

    def seen(self) -> None:
        os.eventfd_read(self._events)

    def console(self) -> int:
        return self._console

    def close(self) -> None:
        if self._console >= 0:
            for descriptor in (self._events, self._console, self.terminal):
                os.close(descriptor)
        self._console = -1


@dataclass
class Bed:
    """A guest on a Xen that is not there, and the parts of both that tests look at."""

    xen: FakeXen
    domain: FakeDomain
    guest: XenGuest
    trampoline: Trampoline
    console: list[bytes] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)

    def ring(self, vcpu: int = 0, **words: int) -> None:
        self.xen.ring(vcpu, trampoline=self.trampoline, **words)

    def run(self, *answers: Answer, timeout: float = 20) -> Stop:
        """Serve the guest, giving `answers` in order."""
        left = iter(answers)

        def answer(request: Request) -> Answer:
            self.requests.append(request)
            return next(left)

        return self.guest.run(answer, timeout)


def bed(xen: FakeXen | None = None, *, renew: Callable[[], FakeXen] | None = None) -> Bed:
    """Return a guest that has not run yet; `renew` gives the Xen of the domain after a reset."""
    xen = xen or FakeXen()
    trampoline = load_trampoline()
    console: list[bytes] = []

    def attachment(of: FakeXen) -> Attachment:
        libraries = FakeLibraries(of)
        return Attachment(libraries, make_server(libraries, of.domid), trampoline, RAM_SIZE)

    def again() -> tuple[Attachment, FakeDomain]:
        assert renew is not None
        made.xen = renew()
        made.domain = FakeDomain(made.xen)
        return attachment(made.xen), made.domain

    domain = FakeDomain(xen)
    guest = XenGuest(domain, attachment(xen), console.append, None, renew=again if renew else None)
    made = Bed(xen, domain, guest, trampoline, console)
    return made


def adopted(xen: FakeXen, identity: int) -> Bed:
    """Return a guest whose ioreq server another process has made, and left."""
    from pvefi.machines.xen.ioreq_server import IoreqServer  # beside its only use

    trampoline = load_trampoline()
    libraries = FakeLibraries(xen)
    domain = FakeDomain(xen)
    console: list[bytes] = []
    server = IoreqServer.adopt(libraries, xen.domid, identity)
    attachment = Attachment(libraries, server, trampoline, RAM_SIZE)
    guest = XenGuest(domain, attachment, console.append, None, paused=False)
    return Bed(xen, domain, guest, trampoline, console)
