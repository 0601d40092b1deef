# SPDX-License-Identifier: GPL-2.0-or-later
"""Boots an image once in QEMU and prints what the bench wants to know of it as JSON: a process of its own.

python bench/qemu_once.py IMAGE [--way WAY] [--machine TYPE] [--initrd FILE] [--cmdline TEXT] ...
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path

from pvefi.boot import Observer, boot
from pvefi.efi.profiles import PROFILES
from pvefi.guest.mailbox import Answer, MailboxLayout, Request
from pvefi.guest.trampoline import Trampoline
from pvefi.machines import ForeignWay, Hardware, Keyboard, Stop
from pvefi.machines.choose import QemuWish, choose_machine
from pvefi.machines.machine import Look
from pvefi.machines.qemu.command import MachineType
from pvefi.machines.qemu.guest import QemuGuest
from pvefi.machines.qemu.machine import QemuMachine
from pvefi.prepare import BootOptions, prepare, prepare_foreign
from pvefi.spec.uefi.memory import PAGE_SIZE, MemoryDescriptor, MemoryType
from pvefi.verdict import Goal

__all__ = ["Ring", "lasting_memory", "main", "round_trips"]

_MEMORY_SIZE = 512 << 20
_TIMEOUT = 60.0
_GATES = 0x1000
"""Functions below are gates."""
_TSC_IN, _TSC_OUT = (MailboxLayout.offset_of(name) // 8 for name in ("tsc_in", "tsc_out"))
_LASTING = frozenset((MemoryType.RUNTIME_SERVICES_CODE, MemoryType.RUNTIME_SERVICES_DATA))
"""What an operating system leaves alone after ExitBootServices; the rest is the machine's, or its own."""

Ring = tuple[int, int, int, float]
"""One doorbell: its function; by the guest's counter when it rang, and when the answer before was seen; when
we saw it, in seconds."""


class WatchedMachine(QemuMachine):
    """QEMU, whose doorbells are noted in `rings`."""

    rings: list[Ring]

    def start(
        self,
        trampoline: Trampoline,
        hardware: Hardware,
        console: Callable[[bytes], None],
        keyboard: Keyboard | None = None,
    ) -> QemuGuest:
        """Start a guest that is listened to from here."""
        guest = super().start(trampoline, hardware, console, keyboard)
        self.rings = []
        words = guest.memory.view(*trampoline.mailbox)[: MailboxLayout.SIZE].cast("Q")
        note, clock, run = self.rings.append, time.perf_counter, guest.run

        def watched(
            answer: Callable[[Request], Answer], timeout: float | None, look: Look | None = None
        ) -> Stop:
            def noted(request: Request) -> Answer:
                note((request.function, words[_TSC_IN], words[_TSC_OUT], clock()))
                return answer(request)

            return run(noted, timeout, look)

        guest.run = watched  # type: ignore[method-assign]  # on this one guest only
        return guest


def round_trips(rings: Sequence[Ring]) -> list[float]:
    """Return for each call of a service the microseconds from its doorbell until its answer was seen.

    What the guest's counter counts in a second is told by the first doorbell and the last. A call during
    which the guest did something else for the host, and the last call of all, are left out.
    """
    if len(rings) < 2 or rings[-1][3] <= rings[0][3]:
        return []
    ticks = (rings[-1][1] - rings[0][1]) / (rings[-1][3] - rings[0][3]) / 1e6
    return [
        (after[2] - ring[1]) / ticks
        for ring, after in pairwise(rings)
        if ring[0] < _GATES and after[0] < _GATES and after[2] >= ring[1]
    ]


def lasting_memory(memory_map: Iterable[MemoryDescriptor]) -> int:
    """Return the bytes of the last memory map that EFI keeps after ExitBootServices."""
    return sum(PAGE_SIZE * one.number_of_pages for one in memory_map if one.type in _LASTING)


def sample(given: argparse.Namespace) -> dict[str, object]:
    """Return the sample of one boot, in the form of `qemu_figures.QemuBoot`."""
    foreign = ForeignWay(given.way) if given.way in tuple(ForeignWay) else None
    wish = QemuWish(
        machine_type=MachineType(given.machine),
        accelerator="tcg",
        firmware=given.firmware,
        foreign=foreign is not None,
        exact=given.exact,
    )
    machine = choose_machine("qemu", wish)
    assert isinstance(machine, QemuMachine)
    watched = WatchedMachine(machine.options, machine.about)
    watched.rings = []
    options = BootOptions(
        given.image,
        watched,
        entry="efi" if foreign else given.way,
        profile=PROFILES[given.profile],
        initrd=given.initrd,
        command_line=given.cmdline,
        memory_size=_MEMORY_SIZE,
        seed=0 if given.exact else None,
        timeout=_TIMEOUT,
        goal=Goal(given.until),
    )
    prepared = prepare_foreign(options, foreign) if foreign else prepare(options)
    result = boot(prepared, Observer(lambda _text: None, lambda _event: None, lambda _stage: None))
    status = result.verdict.status
    return {
        "machine": given.machine,
        "way": given.way,
        "firmware": given.firmware,
        "profile": given.profile,
        "outcome": result.verdict.outcome.value,
        "milestones": {name.value: seconds for name, seconds in result.milestones.items()},
        "round_trips": round_trips(watched.rings),
        "status": None if status is None else int(status),
        "lasting_memory": lasting_memory(result.handoff.memory_map) if result.handoff else None,
    }


def main(words: Sequence[str]) -> int:
    """Boot as `words` say and print the sample."""
    parser = argparse.ArgumentParser(prog="bench/qemu_once.py")
    parser.add_argument("image", type=Path)
    parser.add_argument("--way", default="efi")
    parser.add_argument("--machine", default="q35")
    parser.add_argument("--firmware", default="auto")
    parser.add_argument("--profile", default="linux")
    parser.add_argument("--initrd", type=Path)
    parser.add_argument("--cmdline", default="")
    parser.add_argument("--until", default=Goal.USERSPACE.value)
    parser.add_argument("--exact", action="store_true")
    print(json.dumps(sample(parser.parse_args(words))))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
