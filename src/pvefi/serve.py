# SPDX-License-Identifier: GPL-2.0-or-later
"""Serves a domain that others have made, or another process has served: the flow of `pvefi serve`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from pvefi.boot import Observer, boot
from pvefi.efi.profiles import Profile
from pvefi.errors import MachineError, PvefiError, UsageError
from pvefi.held_guest import HeldGuest, ServedDomain, fresh_variables, open_directory, served_domain
from pvefi.legacy import Legacy
from pvefi.machines.xen.attached import AttachedMachine, QuietDomain, facts_of
from pvefi.machines.xen.domain import attach
from pvefi.machines.xen.ends import DomainEnd
from pvefi.machines.xen.held import HeldDomain
from pvefi.machines.xen.libraries import Libraries
from pvefi.machines.xen.options import XenOptions
from pvefi.prepare import BootOptions, prepare
from pvefi.spec.xen.domctl import Shutdown
from pvefi.state_directory import StateDirectory
from pvefi.verdict import Goal, Outcome, Verdict

__all__ = ["ServeWish", "Served", "serve"]

_REASONS = {
    Outcome.POWERED_OFF: Shutdown.POWEROFF,
    Outcome.EXITED: Shutdown.POWEROFF,
    Outcome.REBOOTED: Shutdown.REBOOT,
}
"""For what a domain is shut down whose guest has ended by EFI's means; for others it has crashed."""


@dataclass(frozen=True)
class ServeWish:
    """What the user wants of the domains: `kernel` None is that of the process before.

    With `waits` it is somebody else who lets them run. `base` holds their directories, `supervisor` is
    the identity of this worker's, `about` is Xen in a line.
    """

    kernel: Path | None
    initrd: Path | None
    command_line: str
    profile: Profile
    variables: Path | None
    waits: bool
    base: Path
    supervisor: str
    about: str


@dataclass(frozen=True)
class Served:
    """How serving a domain ended: the guest's verdict, and how the domain itself, None where EFI ended it."""

    verdict: Verdict
    end: DomainEnd | None


def serve(name: str, wish: ServeWish, observer: Observer, ready: Callable[[str], None]) -> Served:
    """Serve the domain of this name or number until it ends or goes; `ready` is told how, once it is served.

    UsageError for a domain that cannot be served, or is served already; MachineError when Xen refuses.
    """
    attached = False
    with ExitStack() as undo:
        domain = QuietDomain(attach(name, fresh=False), waits=wish.waits)
        undo.callback(domain.close)
        uuid, memory_size = facts_of(domain.domid)
        state = open_directory(wish.base, domain.domid, domain.name)
        undo.callback(state.close)
        before = served_domain(state, uuid)
        if before is None:
            undo.callback(state.discard)
            if (end := domain.end()) is not None:
                raise UsageError(
                    f"domain {domain.name} is {end}: expected one that has not run yet", "create it anew"
                )
            if not domain.stands_still:
                raise UsageError(
                    f"domain {domain.name}: expected one that is paused, or that pvefi has served, "
                    "found one that runs",
                    "create it by xl create -p, and serve it before it runs",
                )
        options, guest = _guest(wish, domain, state, before, uuid, memory_size)
        if before is None:
            undo.callback(guest.end)

        def hold(held: HeldDomain | None) -> None:
            nonlocal attached
            guest.hold(held)
            attached = True
            if held is not None:
                ready("takes it over" if before is not None else "serves it")

        machine = AttachedMachine(
            XenOptions(),
            wish.about,
            held=before.held if before is not None else None,
            hold=hold,
            domain=domain,
            uuid=uuid,
            owned=before is not None and before.owned,
        )
        prepared = prepare(replace(options, machine=machine))
        undo.pop_all()
    legacy = Legacy(guest.keep, guest.found, taken_over=before is not None, variables=guest.variables)
    try:
        result = boot(prepared, observer, legacy)
    except PvefiError:
        if attached or before is None:  # the ioreq server has gone, and nobody can take it over
            guest.end()
        guest.leave()
        raise
    if domain.ended is None and not machine.owned:
        reason = _REASONS.get(result.verdict.outcome, Shutdown.CRASH)
        _shut_down(domain, reason)
    guest.end()
    return Served(result.verdict, domain.ended)


def _shut_down(domain: QuietDomain, reason: Shutdown) -> None:
    """Shut the domain down, unless it has ended meanwhile."""
    try:
        Libraries().device_model().shut_down(domain.domid, int(reason))
    except MachineError:
        if domain.end() is None:
            raise


def _guest(
    wish: ServeWish,
    domain: QuietDomain,
    state: StateDirectory,
    before: ServedDomain | None,
    uuid: str,
    memory_size: int,
) -> tuple[BootOptions, HeldGuest]:
    """Return what is to be booted or gone on with, and the guest's directory."""
    kernel = wish.kernel or (Path(before.image) if before is not None else None)
    if kernel is None:
        raise UsageError(
            f"domain {domain.name}: expected a kernel to boot in it, found none", "--kernel FILE"
        )
    variables, passing = wish.variables, None
    if before is not None:
        variables, passing = Path(before.variables), Path(before.variables) if before.passing else None
    elif variables is None:
        passing = fresh_variables(wish.base, f"domain-{uuid}")
    options = BootOptions(
        image=kernel,
        machine=AttachedMachine(XenOptions(), wish.about),
        entry=before.entry if before is not None else "efi",
        profile=before.profile if before is not None else wish.profile,
        initrd=wish.initrd,
        command_line=wish.command_line,
        memory_size=memory_size,
        goal=Goal.EXIT,
        restarts=False,
        variables=variables if passing is None else None,
    )
    guest = HeldGuest(
        wish.base,
        wish.supervisor,
        options,
        passing=passing,
        owned=before is not None and before.owned,
    )
    guest.enter(state)
    return options, guest
