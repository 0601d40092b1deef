# SPDX-License-Identifier: GPL-2.0-or-later
"""Boots an image once and prints what the bench wants to know of it as JSON: run as a process of its own.

python bench/boot_once.py IMAGE [--count]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

from pvefi.boot import Observer, boot
from pvefi.guest import Trampoline
from pvefi.guest.mailbox import Answer, Request
from pvefi.machines import Hardware, Keyboard, Look, Stop
from pvefi.machines.embedded import EmbeddedMachine
from pvefi.machines.embedded.guest import EmbeddedGuest
from pvefi.prepare import BootOptions, prepare

_MEMORY_SIZE = 512 << 20
_TIMEOUT = 300.0


def anonymous_memory() -> int:
    """Return RssAnon of this process in bytes: resident memory that no file backs."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(":")
        if name == "RssAnon":
            return int(value.split()[0]) << 10
    raise RuntimeError("/proc/self/status has no RssAnon: Linux 4.5 or later is needed")


class WatchedMachine(EmbeddedMachine):
    """The embedded machine, which weighs the process when its guest stops.

    Where instructions are counted, it also notes how many came before the image's first.
    """

    def __init__(self) -> None:
        self.anonymous_memory = 0

    def start(
        self,
        trampoline: Trampoline,
        hardware: Hardware,
        console: Callable[[bytes], None],
        keyboard: Keyboard | None = None,
    ) -> EmbeddedGuest:
        """Start a guest that is looked at from here."""
        guest = super().start(trampoline, hardware, console, keyboard)
        run = guest.run

        def watched(
            answer: Callable[[Request], Answer], timeout: float | None, look: Look | None = None
        ) -> Stop:
            stop = run(answer, timeout, look)
            self.anonymous_memory = anonymous_memory()
            return stop

        guest.run = watched  # type: ignore[method-assign]  # on this one guest only
        return guest


def sample(image: Path, *, count: bool) -> dict[str, object]:
    """Return the sample of one boot, in the form of `figures.BootSample`."""
    machine = WatchedMachine()
    options = BootOptions(image, machine, memory_size=_MEMORY_SIZE, count=count, timeout=_TIMEOUT)
    result = boot(prepare(options), Observer(lambda _text: None, lambda _event: None, lambda _stage: None))
    return {
        "outcome": result.verdict.outcome.value,
        "seconds": result.seconds,
        "host_seconds": result.host_seconds,
        "calls": [[call.service, call.host_us] for call in result.calls],
        "anonymous_memory": machine.anonymous_memory,
        "instructions": result.instructions,
        "instructions_to_image": result.instructions_to_image,
    }


if __name__ == "__main__":
    print(json.dumps(sample(Path(sys.argv[1]), count="--count" in sys.argv[2:])))
