# SPDX-License-Identifier: GPL-2.0-or-later
"""`pvefi serve`: be the EFI of domains that xl or libvirt make."""

from __future__ import annotations

import json
import os
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from queue import SimpleQueue

import click

from pvefi.boot import Observer
from pvefi.cli.options import PROFILE
from pvefi.cli.status import ExitStatus
from pvefi.cli.streams import one_line
from pvefi.cli.supervised import left_behind, not_begun, under_supervisor
from pvefi.efi.profiles import Profile
from pvefi.errors import MachineError, PvefiError, UsageError
from pvefi.files import open_file
from pvefi.guest import load_trampoline
from pvefi.held_guest import BASE
from pvefi.machines.xen.domain import attach
from pvefi.machines.xen.ends import DomainEnd
from pvefi.machines.xen.host import require_control_domain, xen_version
from pvefi.machines.xen.xl import find_xl
from pvefi.serve import Served, ServeWish, serve
from pvefi.trace.events import CallEvent
from pvefi.trace.show import verdict_line
from pvefi.verdict import Outcome

__all__ = ["command"]

_FILE = click.Path(path_type=Path)
_ORDERLY = (Outcome.POWERED_OFF, Outcome.REBOOTED)
_GOES = {
    DomainEnd.GONE: "somebody has destroyed it",
    DomainEnd.SUSPENDED: "it is being saved or migrated, which its EFI is not: its calls come to nothing now",
}


@click.command("serve")
@click.argument("domains", nargs=-1, metavar="DOMAIN...")
@click.option("--kernel", type=_FILE, metavar="FILE", help="The kernel or EFI program that the domains boot.")
@click.option("--initrd", type=_FILE, metavar="FILE", help="Its initial ramdisk; else the domain's ramdisk.")
@click.option("--cmdline", metavar="TEXT", help="Its command line; else the domain's own.")
@click.option(
    "--profile",
    type=PROFILE,
    default="linux",
    show_default=True,
    metavar="NAME|FILE",
    help="What the environment offers: a profile of pvefi's, or the file of one.",
)
@click.option(
    "variables",
    "--vars",
    type=_FILE,
    metavar="FILE",
    help="Keep non-volatile variables here; one domain only.",
)
@click.option("--wait", "waits", is_flag=True, help="Leave it to others to unpause the domains.")
@click.option(
    "trampoline",
    "--trampoline",
    type=_FILE,
    metavar="FILE",
    help="Write the file that is their kernel for xl.",
)
@click.option("as_json", "--json", is_flag=True, help="One JSON object a line for each event, on stdout.")
def command(
    domains: tuple[str, ...],
    kernel: Path | None,
    initrd: Path | None,
    cmdline: str | None,
    profile: Profile,
    variables: Path | None,
    waits: bool,
    trampoline: Path | None,
    as_json: bool,
) -> ExitStatus:
    """Serve EFI to domains that others create, paused, with pvefi's trampoline as their kernel.

    The domains are let run and served until the last has ended, or has gone; a line on stderr tells of each
    event. One whose process has died is taken over where that left it, and needs no --kernel.
    """
    if trampoline is not None:
        _write(trampoline, load_trampoline().elf)
        if not domains:
            return ExitStatus.OK
    if not domains:
        raise UsageError("expected a domain to serve, found none", "xl list shows which there are")
    if variables is not None and len(domains) > 1:
        raise UsageError(
            f"--vars keeps the variables of one domain, found {len(domains)}", "serve each by itself"
        )
    for file, what in ((kernel, "a kernel or EFI program"), (initrd, "an initial ramdisk")):
        if file is not None:
            open_file(file, what).close()
    require_control_domain()
    find_xl()
    supervisor = under_supervisor()
    wish = ServeWish(
        kernel, initrd, cmdline or "", profile, variables, waits, BASE, supervisor, f"Xen {xen_version()}"
    )
    return _serve_all(_left(domains, supervisor), wish, Log(as_json=as_json))


def _write(file: Path, data: bytes) -> None:
    """Put `data` into the file at once, with its folder: xl may read it at any time."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.exists() and not file.is_file():  # a pipe or a device
        file.write_bytes(data)
        return
    new = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        new.write_bytes(data)
        new.replace(file)
    finally:
        new.unlink(missing_ok=True)


def _left(domains: tuple[str, ...], supervisor: str) -> tuple[str, ...]:
    """Return those that are to be served: of a worker that has died, what it had not done with.

    UsageError for one that is not there, or is of another kind.
    """
    names = {name for held in left_behind(supervisor) for name in (held.name, str(held.domid))}
    if names:
        return tuple(name for name in dict.fromkeys(domains) if name in names or not_begun(name))
    wanted = tuple(dict.fromkeys(domains))
    for name in wanted:
        attach(name, fresh=False).close()  # one that cannot be served is to be told before others are
    return wanted


@dataclass
class Log:
    """Where events are told; threads may share it."""

    as_json: bool
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def tell(self, domain: str, event: str, text: str = "", **more: object) -> None:
        """Tell of an event in a line."""
        with self._lock:
            if self.as_json:
                told = {"domain": domain, "event": event, **({"text": text} if text else {}), **more}
                click.echo(json.dumps(told))
            else:
                click.echo(f"pvefi: {domain}: {one_line(text or event)}", err=True)

    def call(self, domain: str, call: CallEvent) -> None:
        """Tell of a service call, where programs listen."""
        if self.as_json:
            status = call.status.efi_name if call.status is not None else None
            self.tell(domain, "call", call.why, index=call.index, service=call.service, status=status)


def _serve_all(domains: tuple[str, ...], wish: ServeWish, log: Log) -> ExitStatus:
    """Serve each domain in a thread of its own, and return the worst of how it went."""
    ends: SimpleQueue[tuple[str, Served | BaseException]] = SimpleQueue()
    begun: set[str] = set()
    for name in domains:
        threading.Thread(
            target=_run, args=(name, wish, log, ends, begun, len(domains)), name=name, daemon=True
        ).start()
    worst = ExitStatus.OK
    for _ in domains:
        name, end = ends.get()
        worst = max(worst, _told(name, end, log))
    return worst


def _run(
    name: str,
    wish: ServeWish,
    log: Log,
    ends: SimpleQueue[tuple[str, Served | BaseException]],
    begun: set[str],
    count: int,
) -> None:
    def ready(how: str) -> None:
        log.tell(name, "serving", how)
        begun.add(name)
        if len(begun) == count:
            _notify("READY=1")

    observer = Observer(
        console=lambda text: log.tell(name, "text", text) if text.strip() else None,
        call=partial(log.call, name),
        stage=partial(log.tell, name, "stage"),
        serial=lambda _: None,
        notice=partial(log.tell, name, "notice"),
    )
    try:
        ends.put((name, serve(name, wish, observer, ready)))
    except BaseException as error:
        ends.put((name, error))


def _told(name: str, end: Served | BaseException, log: Log) -> ExitStatus:
    """Tell how serving a domain has ended; raise a bug, so that the supervisor starts another process."""
    match end:
        case Served(verdict, domain_end):
            text = _GOES.get(domain_end) if domain_end is not None else None
            log.tell(name, "ended", text or verdict_line(verdict))
            if text is not None or verdict.outcome in _ORDERLY:
                return ExitStatus.OK
            return ExitStatus.NO_MACHINE if verdict.outcome is Outcome.DIED else ExitStatus.GUEST_FAILED
        case MachineError():
            log.tell(name, "error", str(end))
            return ExitStatus.NO_MACHINE
        case PvefiError():
            log.tell(name, "error", str(end))
            return ExitStatus.BAD_INPUT
        case _:
            raise end


def _notify(state: str) -> None:
    """Tell systemd, where it wants to know: sd_notify(3)."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as told:
        told.sendto(state.encode(), address.replace("@", "\0", 1) if address[0] == "@" else address)
