# SPDX-License-Identifier: GPL-2.0-or-later
"""Domains that somebody else has made, such as xl or libvirt, with the trampoline as their kernel."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pvefi.errors import UsageError
from pvefi.guest.trampoline import Trampoline
from pvefi.machines.machine import Hardware, Keyboard
from pvefi.machines.xen.domain import Domain, most_memory
from pvefi.machines.xen.ends import DomainEnd
from pvefi.machines.xen.guest import XenGuest
from pvefi.machines.xen.held import HeldDomain
from pvefi.machines.xen.machine import XenMachine, has_never_run
from pvefi.machines.xen.xenstore import Xenstore

__all__ = ["AttachedMachine", "QuietDomain", "facts_of", "is_there"]

_PARTS = (".gates", ".boot")
"""What of the trampoline stands in the guest as it does in the file, until its first instruction."""


def facts_of(domid: int, root: Path = Path("/")) -> tuple[str, int]:
    """Return a domain's UUID, and its memory in bytes; UsageError when it is not there."""
    with Xenstore.open(root) as store:
        vm = store.read(f"/local/domain/{domid}/vm") or ""
        memory_size = most_memory(store, domid)
    if not vm or not memory_size:
        raise UsageError(f"there is no domain {domid}", "xl list shows which there are")
    return vm.rpartition("/")[2], memory_size


def is_there(held: HeldDomain, root: Path = Path("/")) -> bool:
    """Whether a domain that a process has held is still there."""
    try:
        return facts_of(held.domid, root)[0] == held.uuid
    except UsageError:
        return False


class QuietDomain:
    """A domain whose console is left to whoever reads it, such as `xl console`.

    With `waits` it is somebody else who lets it run. `ended` is how it was last seen to have ended.
    """

    def __init__(self, domain: Domain, *, waits: bool = False) -> None:
        self._domain = domain
        self._waits = waits
        self._ends: tuple[int, int] | None = None
        self.domid = domain.domid
        self.name = domain.name
        self.ended: DomainEnd | None = None

    @property
    def stands_still(self) -> bool:
        """Whether somebody keeps it from running."""
        return self._domain.paused

    @property
    def paused(self) -> bool:
        """Whether it is this process that has to let it run."""
        return self.stands_still and not self._waits

    def unpause(self) -> None:
        """Let it run."""
        self._domain.unpause()

    def destroy(self) -> None:
        """End it."""
        self._domain.destroy()

    def end(self) -> DomainEnd | None:
        """Return how it has ended; None while it lives."""
        self.ended = self._domain.end()
        return self.ended

    def fileno(self) -> int:
        """Return the descriptor that is readable when `end` may say something else."""
        return self._domain.fileno()

    def seen(self) -> None:
        """Take what has made it readable."""
        self._domain.seen()

    def console(self) -> int:
        """Return a descriptor at which nothing is ever heard."""
        if self._ends is None:
            self._ends = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        return self._ends[0]

    def close(self) -> None:
        """Let go of it."""
        for descriptor in self._ends or ():
            os.close(descriptor)
        self._ends = None
        self._domain.close()


@dataclass
class AttachedMachine(XenMachine):
    """The machine that `domain` already is; `uuid` is the domain's.

    With `held` another process has been its device model. One that is `owned` ends with its guest.
    """

    domain: QuietDomain | None = None
    uuid: str = ""
    owned: bool = False

    def start(
        self,
        trampoline: Trampoline,
        hardware: Hardware,
        console: Callable[[bytes], None],
        keyboard: Keyboard | None = None,
    ) -> XenGuest:
        """Become the domain's device model, or go on as such; UsageError where its kernel is another one."""
        domain, held = self.domain, self.held
        assert domain is not None, "somebody has found it"
        if held is None:
            guest = self.attach(domain, trampoline, hardware, console, keyboard)
            try:
                _check_kernel(guest, domain, trampoline)
                self.hold(HeldDomain(domain.domid, domain.name, self.uuid, guest.ioreq_server))
            except BaseException:
                guest.close()
                raise
            return guest
        with contextlib.ExitStack() as undo:
            attachment = self._adopt(held, trampoline, hardware)
            undo.callback(attachment.close, destroy=False)
            guest = XenGuest(
                domain,
                attachment,
                console,
                keyboard,
                ended=partial(self.hold, None),
                paused=has_never_run(domain, attachment),
                owned=self.owned,
            )
            self.hold(held)
            undo.pop_all()
        return guest


def _check_kernel(guest: XenGuest, domain: QuietDomain, trampoline: Trampoline) -> None:
    """Refuse a domain that does not begin in the trampoline."""
    for name in _PARTS:
        part = trampoline.segment(name)
        if guest.memory.read(part.address, len(part.data)) != part.data:
            raise UsageError(
                f"domain {domain.name}: expected this pvefi's trampoline as its kernel, found another",
                "pvefi serve --trampoline FILE writes it",
            )
