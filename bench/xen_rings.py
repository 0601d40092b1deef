# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs in a dom0: what a doorbell takes there, and what an ioreq does that is answered by next to nothing.

python xen_rings.py BARE.elf PROGRAM.efi ROUNDS COUNT

PROGRAM.efi calls one service in blocks of BLOCK calls, and after each block writes as often to a port of its
own: the same guest in the same state, so that what it costs a CPU to leave it is the same. The first half of
the calls is answered by pvefi's firmware, the other by a function that knows the answer beforehand. The
writes are answered by the two shortest loops that Python allows over Xen's libraries. BARE.elf writes to the
doorbell's port and nothing else, without paging, and is answered by the first of these loops. Times are taken
at one place of each loop, COUNT of them, ROUNDS times; printed is a JSON list of what
`xen_figures.RingSample` has.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median

from pvefi.boot import Observer, boot
from pvefi.guest.mailbox import DOORBELL_PORT, Answer, Finish, Request, Return
from pvefi.guest.trampoline import Trampoline
from pvefi.machines import Hardware, Keyboard, Stop
from pvefi.machines.choose import choose_machine
from pvefi.machines.machine import Look
from pvefi.machines.xen.domain import create_paused
from pvefi.machines.xen.guest import XenGuest
from pvefi.machines.xen.held import HeldDomain
from pvefi.machines.xen.libraries import EventChannels, ForeignMemory, Libraries
from pvefi.machines.xen.machine import XenMachine
from pvefi.machines.xen.options import XenOptions, read_xl_config
from pvefi.prepare import BootOptions, prepare
from pvefi.spec.xen.ioreq import (
    STATE_MASK,
    XENMEM_RESOURCE_IOREQ_SERVER,
    XENMEM_RESOURCE_IOREQ_SERVER_FRAME_IOREQ,
    Ioreq,
    IoreqState,
)
from pvefi.verdict import Goal, Outcome, Verdict

__all__ = ["main"]

_MEMORY_SIZE = 64 << 20
_TIMEOUT = 120.0
_LEFT_OUT = 20
"""Rings at the start of a series, which fill caches."""
BARE_PORT, BLOCK = 0x530, 50
"""As in xen_programs, whose needs a dom0 does not have; a test compares them."""
_ENOUGH = "rung often enough"
_GATES = 0x1000
"""Functions below are gates."""


def _options() -> XenOptions:
    # Xen emulates rdtsc where it has no way to scale it.
    return XenOptions(read_xl_config(None, ('tsc_mode="native"',))[0])


def bare(elf: Path, count: int) -> list[float]:
    """Return when each of `count` requests of a guest that only makes requests was seen, in seconds."""
    libraries = Libraries()
    model, memory, channels = libraries.device_model(), libraries.foreign_memory(), libraries.event_channels()
    with create_paused(_options().domain(elf, Hardware(_MEMORY_SIZE))) as domain:
        try:
            server = model.create_ioreq_server(domain.domid)
            model.map_ports(domain.domid, server, DOORBELL_PORT, DOORBELL_PORT)
            times = _answer(
                domain.domid, server, memory, channels, count, domain.unpause, model.set_ioreq_server_state
            )
            model.destroy_ioreq_server(domain.domid, server)
        finally:
            channels.close()
            memory.unmap_resource()
            memory.close()
            model.close()
            domain.destroy()
    return times


def _answer(
    domid: int,
    server: int,
    memory: ForeignMemory,
    channels: EventChannels,
    count: int,
    unpause: Callable[[], None],
    enable: Callable[..., None],
) -> list[float]:
    frame = XENMEM_RESOURCE_IOREQ_SERVER_FRAME_IOREQ
    page = memory.map_resource(domid, XENMEM_RESOURCE_IOREQ_SERVER, server, frame)
    enable(domid, server, enabled=True)
    flags, ready = Ioreq.offset_of("flags"), int(IoreqState.READY)
    answered = int(IoreqState.RESPONSE_READY)
    channels.bind(domid, Ioreq.unpack(page[: Ioreq.SIZE]).vp_eport)
    times: list[float] = []
    pending, notify, note, clock = channels.pending, channels.notify, times.append, time.perf_counter
    unpause()
    while len(times) < count:
        port = pending()  # waits
        if page[flags] & STATE_MASK == ready:  # an event channel that is bound rings once by itself
            note(clock())
            page[flags] = answered
            notify(port)
    page.release()
    return times


class _BarePort:
    """An ioreq server of a guest's own, for one port, whose requests come in blocks.

    Blocks are answered in turn by two loops: one that waits for an event each time, and one that looks first
    whether the next request is there.
    """

    def __init__(self, domid: int) -> None:
        libraries = Libraries()
        self._model, self._memory = libraries.device_model(), libraries.foreign_memory()
        self._channels = libraries.event_channels()
        server = self._model.create_ioreq_server(domid)
        self._model.map_ports(domid, server, BARE_PORT, BARE_PORT)
        self._page = self._memory.map_resource(
            domid, XENMEM_RESOURCE_IOREQ_SERVER, server, XENMEM_RESOURCE_IOREQ_SERVER_FRAME_IOREQ
        )
        self._model.set_ioreq_server_state(domid, server, enabled=True)
        self._channels.bind(domid, Ioreq.unpack(self._page[: Ioreq.SIZE]).vp_eport)
        self._blocks = 0
        self.waited: list[list[float]] = []
        self.looked: list[list[float]] = []

    def fileno(self) -> int:
        """Return the descriptor that is readable when `answer` may have something to do."""
        return self._channels.fileno()

    def answer(self) -> None:
        """Answer a block of requests, if the guest has begun one."""
        page, flags, times = self._page, Ioreq.offset_of("flags"), list[float]()
        ready, answered = int(IoreqState.READY), int(IoreqState.RESPONSE_READY)
        pending, notify, note, clock = (
            self._channels.pending, self._channels.notify, times.append, time.perf_counter,
        )  # fmt: skip
        looks = bool(self._blocks % 2)
        port = pending()
        if page[flags] & STATE_MASK != ready:
            return
        while True:
            if page[flags] & STATE_MASK == ready:
                note(clock())
                page[flags] = answered
                notify(port)
                if len(times) == BLOCK:
                    break
                if looks:
                    continue
            port = pending()  # waits
        self._blocks += 1
        (self.looked if looks else self.waited).append(times)

    def close(self) -> None:
        """Let go of it; the server goes with its domain."""
        self._channels.close()
        self._page.release()
        self._memory.unmap_resource()
        self._memory.close()
        self._model.close()


class _RingMachine(XenMachine):
    """Xen, whose doorbells are noted; the second half of them is answered without pvefi's firmware."""

    count: int
    port: _BarePort
    served: list[list[float]]
    unserved: list[list[float]]
    answering: list[float]

    def start(
        self,
        trampoline: Trampoline,
        hardware: Hardware,
        console: Callable[[bytes], None],
        keyboard: Keyboard | None = None,
    ) -> XenGuest:
        """Start a guest that is listened to from here."""
        held: list[HeldDomain | None] = []
        self.hold = held.append
        guest = super().start(trampoline, hardware, console, keyboard)
        assert held[0] is not None, "a new domain"
        self.port = _BarePort(held[0].domid)
        guest._readiness.watch(self.port.fileno(), self.port.answer)
        self.served, self.unserved, self.answering = [], [], []
        blocks, clock, run = 4 * -(-self.count // (2 * BLOCK)), time.perf_counter, guest.run
        served, unserved, spent = self.served, self.unserved, self.answering
        rung = 0

        def watched(
            answer: Callable[[Request], Answer], timeout: float | None, look: Look | None = None
        ) -> Stop:
            def noted(request: Request) -> Answer:
                nonlocal rung
                if request.function >= _GATES:
                    return answer(request)
                began = clock()
                block, within = divmod(rung, BLOCK)
                rung += 1
                if block == blocks:
                    return Finish(Verdict(Outcome.EXITED, _ENOUGH))
                kind = served if 2 * block < blocks else unserved
                if not within:
                    kind.append([])
                kind[-1].append(began)
                if kind is unserved:
                    return Return(0)
                answered = answer(request)
                spent.append(clock() - began)
                return answered

            return run(noted, timeout, look)

        guest.run = watched  # type: ignore[method-assign]  # on this one guest only
        return guest


def rings(program: Path, count: int) -> dict[str, float]:
    """Return microseconds of one guest: its doorbells, its writes to a port, its firmware."""
    chosen = choose_machine("xen", xen=_options())
    assert isinstance(chosen, XenMachine)
    machine = _RingMachine(chosen.options, chosen.about)
    machine.count = count
    options = BootOptions(program, machine, memory_size=_MEMORY_SIZE, timeout=_TIMEOUT, goal=Goal.EXIT)
    result = boot(prepare(options), Observer(lambda _text: None, lambda _event: None, lambda _stage: None))
    if result.verdict.message != _ENOUGH:
        sys.exit(f"xen_rings: expected {count} doorbells of each kind, found: {result.verdict.message}")
    machine.port.close()
    return {
        "bare_us": _of_blocks(machine.port.waited),
        "bare_looked_us": _of_blocks(machine.port.looked),
        "doorbell_us": _of_blocks(machine.served),
        "no_service_us": _of_blocks(machine.unserved),
        "firmware_us": 1e6 * median(machine.answering[_LEFT_OUT:]),
    }


def _of_blocks(blocks: Sequence[Sequence[float]]) -> float:
    """Return the median distance of neighbours within a block; the first block fills caches."""
    return 1e6 * median(after - before for times in blocks[1:] or blocks for before, after in pairwise(times))


def _microseconds(times: Sequence[float]) -> float:
    """Return the median distance of two rings that follow each other."""
    return 1e6 * median(after - before for before, after in pairwise(times[_LEFT_OUT:]))


def main(words: Sequence[str]) -> int:
    """Measure and print."""
    elf, program, rounds, count = Path(words[0]), Path(words[1]), int(words[2]), int(words[3])
    samples = []
    for _ in range(rounds):
        flat = _microseconds(bare(elf, count))
        samples.append({"bare_flat_us": flat, **rings(program, count)})
    print(json.dumps(samples))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
