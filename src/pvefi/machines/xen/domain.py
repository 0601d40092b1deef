# SPDX-License-Identifier: GPL-2.0-or-later
"""One domain: made paused by xl, or found; its end is told by xenstore and its reason by Xen."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Self

from pvefi.errors import MachineError, UsageError
from pvefi.machines.xen.console import open_console
from pvefi.machines.xen.ends import DomainEnd
from pvefi.machines.xen.hypercall import Hypercalls
from pvefi.machines.xen.libraries import Libraries
from pvefi.machines.xen.private_file import private_file
from pvefi.machines.xen.xenstore import Xenstore
from pvefi.machines.xen.xl import Xl, find_xl
from pvefi.machines.xen.xl_config import DomainConfig
from pvefi.spec.xen.domctl import Shutdown
from pvefi.spec.xen.xenstore import RELEASE_DOMAIN

__all__ = ["Domain", "attach", "create_paused", "destroy_by_uuid", "most_memory"]


_ENDS = {
    Shutdown.POWEROFF: DomainEnd.POWERED_OFF,
    Shutdown.REBOOT: DomainEnd.REBOOTED,
    Shutdown.SUSPEND: DomainEnd.SUSPENDED,
    Shutdown.CRASH: DomainEnd.CRASHED,
    Shutdown.WATCHDOG: DomainEnd.WATCHDOG,
    Shutdown.SOFT_RESET: DomainEnd.SOFT_RESET,
}


class Domain:
    """A domain of Xen.

    One that has shut down stays as it is, its memory with it, until somebody destroys it. `close` does not.
    """

    def __init__(
        self, domid: int, name: str, xl: Xl, root: Path = Path("/"), libraries: Libraries | None = None
    ) -> None:
        self.domid = domid
        self.name = name
        self._xl = xl
        self._root = root
        self._console: int | None = None
        with contextlib.ExitStack() as undo:
            self._hypercalls = undo.enter_context(Hypercalls(libraries))
            self._store = undo.enter_context(Xenstore.open(root))
            self._store.watch(RELEASE_DOMAIN)
            undo.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def paused(self) -> bool:
        """Whether a control program keeps it from running."""
        state = self._hypercalls.domain_state(self.domid)
        return state is not None and state.paused

    def unpause(self) -> None:
        """Let it run."""
        self._xl.unpause(self.domid)

    def destroy(self) -> None:
        """End it at once, if it is still there; MachineError when that fails."""
        if self.end() is DomainEnd.GONE:
            return
        try:
            self._xl.destroy(self.domid)
        except MachineError as error:
            if self.end() is DomainEnd.GONE:
                return
            raise MachineError(
                error.message, f"domain {self.name} is left: xl destroy {self.domid}"
            ) from error

    def end(self) -> DomainEnd | None:
        """Return how it has ended, None while it lives."""
        state = self._hypercalls.domain_state(self.domid)
        if state is None or state.dying:
            return DomainEnd.GONE
        if state.shutdown is None:
            return None
        return _ENDS.get(state.shutdown, DomainEnd.CRASHED)

    def fileno(self) -> int:
        """Return the descriptor that is readable when `end` may say something else than before."""
        return self._store.fileno()

    def seen(self) -> None:
        """Take what made the descriptor readable; MachineError when xenstored has gone."""
        for _ in self._store.events():
            pass

    def console(self) -> int:
        """Return the descriptor of the guest's console, both ways; it does not block.

        At the domain's end it is read to its end: EIO. It is the domain's, and closed with it.
        """
        if self._console is None:
            self._console = open_console(self.domid, self._root)
        return self._console

    def close(self) -> None:
        """Let go of it, whatever becomes of it."""
        if self._console is not None:
            os.close(self._console)
            self._console = None
        self._store.close()
        self._hypercalls.close()


def most_memory(store: Xenstore, domid: int) -> int:
    """Return the bytes of memory that a domain may have at most, 0 where xenstore does not tell."""
    kibibytes = store.read(f"/local/domain/{domid}/memory/static-max") or ""
    return int(kibibytes) << 10 if kibibytes.isascii() and kibibytes.isdigit() else 0


def create_paused(config: DomainConfig, root: Path = Path("/"), libraries: Libraries | None = None) -> Domain:
    """Make a domain, paused before its first instruction.

    UsageError when its name is taken, MachineError when Xen or xl refuse. Nothing is left then.
    """
    xl = find_xl()
    with Xenstore.open(root) as store:
        if store.domain(config.name) is not None:
            raise UsageError(
                f"a domain called {config.name} is there already", "give it another name, or destroy that one"
            )
        with contextlib.ExitStack() as undo:
            undo.callback(_destroy_half, store, xl, config.uuid)
            with private_file(config.text().encode("utf-8", "surrogateescape"), ".cfg") as file:
                xl.create(file)
            domid = store.domain_of(config.uuid)
            if domid is None:
                raise MachineError(f"xl has made no domain {config.name}, and said nothing of it")
            domain = Domain(domid, config.name, xl, root, libraries)
            undo.pop_all()
            return domain


def destroy_by_uuid(uuid: str, root: Path = Path("/")) -> None:
    """End the domain of this UUID, if there is one; MachineError when that fails."""
    with Xenstore.open(root) as store:
        domid = store.domain_of(uuid)
        if domid is not None:
            find_xl().destroy(domid)


def _destroy_half(store: Xenstore, xl: Xl, uuid: str) -> None:
    """End what there is of a domain that could not be made; the error that led here is the one to tell."""
    with contextlib.suppress(MachineError):
        domid = store.domain_of(uuid)
        if domid is not None:
            xl.destroy(domid)


def attach(
    name_or_id: str, root: Path = Path("/"), libraries: Libraries | None = None, *, fresh: bool = True
) -> Domain:
    """Find a PVH domain that somebody else has made, by its name or number; a `fresh` one has not run yet.

    UsageError when it is another kind of domain, has run, or is not there.
    """
    xl = find_xl()
    with Xenstore.open(root) as store:
        numbered = name_or_id.isascii() and name_or_id.isdigit()
        domid = int(name_or_id) if numbered else store.domain(name_or_id)
        name = store.read(f"/local/domain/{domid}/name") if domid is not None else None
    if domid is None or name is None:
        raise UsageError(f"there is no domain {name_or_id}", "xl list shows which there are")
    domain = Domain(domid, name, xl, root, libraries)
    with contextlib.ExitStack() as undo:
        undo.callback(domain.close)
        if (end := domain.end()) is DomainEnd.GONE or (fresh and end is not None):
            raise UsageError(f"domain {name} is {end}: expected one that has not run yet", "create it anew")
        kind = _kind(xl.configuration(domid))
        if kind != "pvh":
            raise UsageError(
                f"domain {name} is of type {kind}: expected one of type pvh",
                'type = "pvh" in its configuration',
            )
        if fresh and not domain.paused:
            raise UsageError(
                f"domain {name} runs already: expected one that is paused", "create it by xl create -p"
            )
        undo.pop_all()
    return domain


def _kind(listed: object) -> str:
    """Return the type of a domain, as `xl list -l` has it; "unknown" where that does not say so."""
    match listed:
        case {"config": {"c_info": {"type": str(kind)}}} | [{"config": {"c_info": {"type": str(kind)}}}]:
            return kind
        case _:
            return "unknown"
