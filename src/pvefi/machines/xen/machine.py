# SPDX-License-Identifier: GPL-2.0-or-later
"""Starts domains of type PVH with the trampoline as their kernel, and is their device model."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from pvefi.errors import UsageError
from pvefi.guest.trampoline import Trampoline
from pvefi.machines.machine import ForeignBoot, Hardware, Keyboard
from pvefi.machines.xen.attachment import Attachment, make_server
from pvefi.machines.xen.domain import Domain, attach, create_paused, most_memory
from pvefi.machines.xen.foreign import ForeignXenGuest, start_foreign
from pvefi.machines.xen.guest import Domain as GuestDomain
from pvefi.machines.xen.guest import XenGuest
from pvefi.machines.xen.held import HeldDomain
from pvefi.machines.xen.ioreq_server import IoreqServer
from pvefi.machines.xen.libraries import Libraries
from pvefi.machines.xen.options import XenOptions
from pvefi.machines.xen.private_file import private_file
from pvefi.machines.xen.xenstore import Xenstore

__all__ = ["XenMachine", "has_never_run"]


class FoundDomain(GuestDomain, Protocol):
    """A domain that somebody else has made."""

    @property
    def paused(self) -> bool:
        """Whether it is this process that has to let it run."""
        ...


@dataclass
class XenMachine:
    """Domains beside this one; `about` describes Xen in a line.

    `held` is a domain that this process takes over from one that has died, instead of making one. `hold` is
    told of every domain and ioreq server before its guest runs, and None when pvefi has ended it; before that
    `making` is told of the UUID of every domain that is about to be made.
    """

    options: XenOptions
    about: str = ""
    extra_version: str = ""
    held: HeldDomain | None = None
    hold: Callable[[HeldDomain | None], None] = lambda _: None
    making: Callable[[str], None] = lambda _: None

    name = "xen"
    runs_kernels = True
    watches = False
    console = "hvc0"
    epoch = None

    def kernel_argument(self) -> str:
        """Return nothing: Linux learns what it has to know from Xen."""
        return ""

    def start(
        self,
        trampoline: Trampoline,
        hardware: Hardware,
        console: Callable[[bytes], None],
        keyboard: Keyboard | None = None,
    ) -> XenGuest:
        """Make a domain, paused, and return its guest; see `Machine.start`."""
        if hardware.watched:
            raise UsageError(
                "expected a machine that stops at the hand-off, found xen, which does not",
                "--until userspace or exit",
            )
        libraries = Libraries()
        make = partial(self._make, libraries, trampoline, hardware)
        held = self.held
        with contextlib.ExitStack() as undo:
            if held is None:
                attachment, domain = make()
                undo.callback(domain.close)
                undo.callback(domain.destroy)
                undo.callback(attachment.close)
            else:
                domain = undo.enter_context(attach(str(held.domid), fresh=False))
                attachment = self._adopt(held, trampoline, hardware)
                undo.callback(attachment.close, destroy=False)
            guest = XenGuest(
                domain,
                attachment,
                console,
                keyboard,
                renew=make if hardware.restarts else None,
                ended=partial(self.hold, None),
                paused=held is None or has_never_run(domain, attachment),
            )
            undo.pop_all()
        return guest

    @staticmethod
    def _adopt(held: HeldDomain, trampoline: Trampoline, hardware: Hardware) -> Attachment:
        """Return pvefi's part in a domain where another process has left it."""
        libraries = Libraries()
        server = IoreqServer.adopt(libraries, held.domid, held.ioreq_server)
        with contextlib.ExitStack() as undo:
            undo.callback(server.close)
            attachment = Attachment(libraries, server, trampoline, _most(held.domid, hardware))
            undo.pop_all()
        return attachment

    def attach(
        self,
        domain: FoundDomain,
        trampoline: Trampoline,
        hardware: Hardware,
        console: Callable[[bytes], None],
        keyboard: Keyboard | None = None,
    ) -> XenGuest:
        """Become the device model of a domain that somebody else has made with the trampoline, and keeps.

        The domain goes on when pvefi leaves it, and is not made anew when its guest resets.
        """
        libraries = Libraries()
        server = make_server(libraries, domain.domid)
        with contextlib.ExitStack() as undo:
            undo.callback(server.destroy)
            attachment = Attachment(libraries, server, trampoline, hardware.memory_size)
            undo.callback(attachment.close)
            guest = XenGuest(
                domain,
                attachment,
                console,
                keyboard,
                paused=domain.paused,
                owned=False,
            )
            undo.pop_all()
        return guest

    def start_foreign(
        self,
        boot: ForeignBoot,
        hardware: Hardware,
        console: Callable[[bytes], None],
        keyboard: Keyboard | None = None,
    ) -> ForeignXenGuest:
        """Let xl boot a kernel; see `Machine.start_foreign`."""
        return start_foreign(self.options, boot, hardware, console, keyboard)

    def _make(
        self, libraries: Libraries, trampoline: Trampoline, hardware: Hardware
    ) -> tuple[Attachment, Domain]:
        """Return a new domain, paused before the trampoline's first instruction, and pvefi's part in it."""
        with private_file(trampoline.elf, ".elf") as kernel:
            config = self.options.domain(kernel, hardware)
            self.making(config.uuid)  # xl makes it even when this process is killed meanwhile
            domain = create_paused(config)
        with contextlib.ExitStack() as undo:
            undo.callback(domain.close)
            undo.callback(domain.destroy)
            server = make_server(libraries, domain.domid)
            undo.callback(server.destroy)
            self.hold(HeldDomain(domain.domid, domain.name, config.uuid, server.identity))
            attachment = Attachment(libraries, server, trampoline, _most(domain.domid, hardware))
            undo.pop_all()
        return attachment, domain


def has_never_run(domain: FoundDomain, attachment: Attachment) -> bool:
    """Whether a domain stands still before its first doorbell: another process was to let it run."""
    return domain.paused and attachment.mailbox.calls()[0] == 0


def _most(domid: int, hardware: Hardware) -> int:
    """Return the bytes of memory that a domain may come to have: maxmem can be more than it is given."""
    with Xenstore.open() as store:
        return max(hardware.memory_size, most_memory(store, domid))
