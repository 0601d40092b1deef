# SPDX-License-Identifier: GPL-2.0-or-later
"""Boots on Xen under a supervisor, so that a guest outlives the process that serves it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from pvefi.errors import PvefiError
from pvefi.held_guest import BASE, HeldGuest, fresh_variables, served_domains, unfinished, uuid_of
from pvefi.legacy import Legacy
from pvefi.machines.xen.attached import is_there
from pvefi.machines.xen.domain import attach, destroy_by_uuid
from pvefi.machines.xen.held import HeldDomain
from pvefi.machines.xen.machine import XenMachine
from pvefi.prepare import BootOptions
from pvefi.supervisor import WORKER_OF, die_with, supervise, supervisor_of

__all__ = ["left_behind", "not_begun", "under_supervisor", "watched_over"]

_XL_SECONDS, _STEP = 120.0, 0.1
"""Seconds that an xl whose starter has died may still take, and between looks at it."""


def under_supervisor() -> str:
    """Return the identity of this process's supervisor, having become it in the first place.

    It is to be called before anything has been read or written.
    """
    supervisor = supervisor_of()
    if not supervisor:
        supervise(os.fspath(BASE))
    die_with(supervisor)
    return supervisor


def left_behind(supervisor: str) -> list[HeldDomain]:
    """Return the domains that another worker of this supervisor has left."""
    found = [one.held for one, owner in served_domains(BASE) if owner == supervisor]
    return [held for held in found if is_there(held)]


def not_begun(name: str) -> bool:
    """Whether a domain that has still to run is there."""
    try:
        attach(name).close()
    except PvefiError:
        return False
    return True


def _tidied(supervisor: str, held: HeldDomain | None) -> bool:
    """End what a worker that has died was about to make, and nobody has a note of; whether there was any.

    xl goes on without the worker that has started it. MachineError when the domain cannot be destroyed.
    """
    notes = unfinished(BASE, supervisor)
    for note in notes:
        uuid = uuid_of(note)
        if held is None or held.uuid != uuid:
            limit = time.monotonic() + _XL_SECONDS
            while _xl_runs(supervisor) and time.monotonic() < limit:
                time.sleep(_STEP)
            destroy_by_uuid(uuid)
        note.discard()
    return bool(notes)


def _xl_runs(supervisor: str, proc: Path = Path("/proc")) -> bool:
    """Whether an xl still runs that a worker of this supervisor has started."""
    started = f"{WORKER_OF}={supervisor}".encode()
    for process in proc.glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            name = (process / "comm").read_text(errors="replace").strip()
            if name == "xl" and started in (process / "environ").read_bytes().split(b"\0"):
                return True
    return False


@contextmanager
def watched_over(options: BootOptions, supervisor: str) -> Iterator[tuple[BootOptions, Legacy]]:
    """Yield the options of a boot on Xen, with a machine whose domain outlives this process, and its legacy.

    That takes over the domain which the last worker of this supervisor has left, if there is one.
    """
    machine = options.machine
    assert isinstance(machine, XenMachine), "only Xen's domains outlive who serves them"
    held = next(iter(left_behind(supervisor)), None)
    again = _tidied(supervisor, held) or held is not None
    passing = None
    if options.variables is None:
        passing = fresh_variables(BASE, f"boot-{supervisor}", again=again)
    guest = HeldGuest(BASE, supervisor, options, passing=passing, owned=True)
    if held is not None:
        guest.take_over(held)
    legacy = Legacy(guest.keep, guest.found, taken_over=held is not None, variables=guest.variables)
    machine = replace(machine, held=held, hold=guest.hold, making=guest.making)
    try:
        yield replace(options, machine=machine), legacy
    except Exception as error:
        if isinstance(error, PvefiError):  # after anything else another process goes on
            guest.end()
        raise
    except BaseException:
        guest.end()
        raise
    guest.end()
