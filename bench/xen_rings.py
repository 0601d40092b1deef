# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs in a dom0: what a doorbell takes there, and what an ioreq does that is answered by next to nothing.

python xen_rings.py BARE.elf PROGRAM.efi ROUNDS COUNT

BARE.elf rings the doorbell's port and nothing else; it is answered by the shortest loop that Python allows
over Xen's libraries. PROGRAM.efi calls one service over and over, first answered by pvefi's firmware, then by
a function that knows the answer beforehand. Times are taken at one place of each loop, COUNT of them, in turn
ROUNDS times; printed is a JSON list of what `xen_figures.RingSample` has.
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


class _RingMachine(XenMachine):
    """Xen, whose doorbells are noted; the last `count` of them are answered without pvefi's firmware."""

    times: list[float]
    answering: list[float]
    count: int

    def start(
        self,
        trampoline: Trampoline,
        hardware: Hardware,
        console: Callable[[bytes], None],
        keyboard: Keyboard | None = None,
    ) -> XenGuest:
        """Start a guest that is listened to from here."""
        guest = super().start(trampoline, hardware, console, keyboard)
        self.times, self.answering = [], []
        count, clock, run = self.count, time.perf_counter, guest.run
        times, spent = self.times, self.answering

        def watched(
            answer: Callable[[Request], Answer], timeout: float | None, look: Look | None = None
        ) -> Stop:
            def noted(request: Request) -> Answer:
                if request.function >= _GATES:
                    return answer(request)
                began = clock()
                times.append(began)
                done = len(times)
                if done <= count:
                    answered = answer(request)
                    spent.append(clock() - began)
                    return answered
                if done <= 2 * count:
                    return Return(0)
                return Finish(Verdict(Outcome.EXITED, "rung often enough"))

            return run(noted, timeout, look)

        guest.run = watched  # type: ignore[method-assign]  # on this one guest only
        return guest


def rings(program: Path, count: int) -> tuple[list[float], list[float], list[float]]:
    """Return when doorbells were heard, `count` answered by firmware, then `count` without; and its times."""
    chosen = choose_machine("xen", xen=_options())
    assert isinstance(chosen, XenMachine)
    machine = _RingMachine(chosen.options, chosen.about)
    machine.count = count
    options = BootOptions(program, machine, memory_size=_MEMORY_SIZE, timeout=_TIMEOUT, goal=Goal.EXIT)
    result = boot(prepare(options), Observer(lambda _text: None, lambda _event: None, lambda _stage: None))
    if len(machine.times) <= 2 * count:
        sys.exit(
            f"xen_rings: expected {2 * count} doorbells, found {len(machine.times)}: {result.verdict.message}"
        )
    return machine.times[:count], machine.times[count : 2 * count], machine.answering


def _microseconds(times: Sequence[float]) -> float:
    """Return the median distance of two rings that follow each other."""
    return 1e6 * median(after - before for before, after in pairwise(times[_LEFT_OUT:]))


def main(words: Sequence[str]) -> int:
    """Measure and print."""
    elf, program, rounds, count = Path(words[0]), Path(words[1]), int(words[2]), int(words[3])
    samples = []
    for _ in range(rounds):
        plain = _microseconds(bare(elf, count))
        served, unserved, spent = rings(program, count)
        samples.append(
            {
                "bare_us": plain,
                "doorbell_us": _microseconds(served),
                "no_service_us": _microseconds(unserved),
                "firmware_us": 1e6 * median(spent[_LEFT_OUT:]),
            }
        )
    print(json.dumps(samples))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
