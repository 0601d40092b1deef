# SPDX-License-Identifier: GPL-2.0-or-later
"""A domain's console as pvefi sees it: the terminal that xenconsoled serves for it."""

from __future__ import annotations

import os
import time
import tty
from pathlib import Path

from pvefi.errors import MachineError
from pvefi.machines.xen.xenstore import Xenstore

__all__ = ["open_console"]

_SECONDS = 10.0
"""How long xenconsoled may take to find a new domain."""


def open_console(domid: int, root: Path = Path("/"), seconds: float = _SECONDS) -> int:
    """Return a descriptor of the domain's console: what the guest writes is read, what is written it reads.

    It does not block. What the guest wrote before is there: xenconsoled keeps the terminal open, and keeps
    what does not fit into it. MachineError when xenconsoled does not serve the domain.
    """
    entry = f"/local/domain/{domid}/console/tty"
    end = time.monotonic() + seconds
    with Xenstore.open(root) as store:
        store.watch(entry)
        while not (name := store.read(entry)):
            if not store.wait(end - time.monotonic()):
                raise MachineError(
                    f"domain {domid} has no console after {seconds:g} s", "start xenconsoled in dom0"
                )
            for _ in store.events():
                pass
    try:
        descriptor = os.open(name, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise MachineError(f"{name}, the console of domain {domid}: {error.strerror}") from error
    try:
        tty.setraw(descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
