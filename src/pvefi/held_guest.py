# SPDX-License-Identifier: GPL-2.0-or-later
"""One domain's directory: what a process that takes the domain over finds in it.

Every domain that is served has one, named after its number, under one base for all. What is in it: the domain
and its ioreq server (`domain`), its EFI (`efi`), and whose worker serves it (`supervisor`).
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pvefi.efi.profiles import Profile
from pvefi.efi.resume import SavedEfi, read_saved
from pvefi.efi.varstore.edk2 import empty_store
from pvefi.errors import MachineError, PvefiError, UsageError
from pvefi.files import read_file
from pvefi.frozen_json import from_json, to_json
from pvefi.guest.trampoline import Trampoline
from pvefi.machines.xen.held import HeldDomain
from pvefi.prepare import BootOptions
from pvefi.spec.edk2.ovmf import OVMF_4M
from pvefi.state_directory import StateDirectory
from pvefi.supervisor import OWNER

__all__ = [
    "BASE",
    "HeldGuest",
    "ServedDomain",
    "fresh_variables",
    "open_directory",
    "served_domain",
    "served_domains",
    "unfinished",
    "uuid_of",
]

BASE = Path("/run/pvefi")
"""Where the guests' directories are: it goes with the host's memory, as domains do."""
_DOMAIN, _EFI = "domain", "efi"
_MAKING = "new-"


@dataclass(frozen=True)
class ServedDomain:
    """A domain as its directory tells of it; `variables` is the file that keeps its non-volatile variables.

    `passing` says that this file goes with the domain. `memory_size` is in bytes. `image` was booted by
    `entry`, with the services of `profile`. pvefi has made the domain, and ends it, where it is `owned`.
    """

    held: HeldDomain
    variables: str
    passing: bool
    memory_size: int
    image: str
    entry: str
    profile: Profile
    owned: bool


def fresh_variables(base: Path, owner: str, *, again: bool = False) -> Path:
    """Return the file with the variables of a guest whose user named none, empty.

    `owner` tells the guest from all others since the host's start. One that is taken over comes `again`: its
    file is as it was left, and made only where it is missing. MachineError when it cannot be made.
    """
    path = base / f"variables-{owner}"
    if again and path.exists():
        return path
    try:
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = path.with_name(f"{path.name}.new")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(empty_store(OVMF_4M))
        new.replace(path)
    except OSError as error:
        raise MachineError(
            f"{path}: expected room for a guest's variables, found: {error.strerror}"
        ) from error
    return path


class HeldGuest:
    """The directory of the domain that one guest of this process is, made anew for each that it becomes.

    `supervisor` is the identity of this worker's, empty for none. `passing` is the file with the guest's
    variables where that goes with the guest.
    """

    def __init__(
        self, base: Path, supervisor: str, options: BootOptions, *, passing: Path | None, owned: bool
    ) -> None:
        self._base = base
        self._supervisor = supervisor
        self._options = options
        self._passing = passing
        self._owned = owned
        self._state: StateDirectory | None = None
        self._new: StateDirectory | None = None

    def making(self, uuid: str) -> None:
        """Leave a note that a domain is about to be made, until `hold` is told of it or that it has ended."""
        self._made()
        self._new = StateDirectory.open(self._base / f"{_MAKING}{uuid}", f"domain {uuid}")
        if self._supervisor:
            self._new.save(OWNER, self._supervisor)

    def _made(self) -> None:
        """Take the note away that a domain is about to be made."""
        if self._new is not None:
            self._new.discard()
            self._new = None

    def hold(self, held: HeldDomain | None) -> None:
        """Leave a note of the domain before its guest runs; with None it has ended, and nobody goes on."""
        if self._state is not None and (held is None or self._state.path.name != str(held.domid)):
            self._state.discard()
            self._state = None
        if held is None:
            self._made()
            return
        if self._state is None:
            self._state = open_directory(self._base, held.domid, held.name)
        options = self._options
        served = ServedDomain(
            held=held,
            variables=str(self.variables.absolute()),
            passing=self._passing is not None,
            memory_size=options.memory_size,
            image=str(options.image.absolute()),
            entry=options.entry,
            profile=options.profile,
            owned=self._owned,
        )
        self._state.save(_DOMAIN, to_json(served))  # first: an owner without it would find nothing
        self.take_over(held)
        self._made()

    @property
    def variables(self) -> Path:
        """The file with the guest's variables."""
        variables = self._options.variables or self._passing
        assert variables is not None, "one or the other is there"
        return variables

    def take_over(self, held: HeldDomain) -> None:
        """Go on where another process has died; UsageError while another one serves it."""
        if self._state is None:
            self._state = open_directory(self._base, held.domid, held.name)
        if self._supervisor:
            self._state.save(OWNER, self._supervisor)
        else:
            self._state.remove(OWNER)

    def enter(self, state: StateDirectory) -> None:
        """Take the domain's directory, which this process holds already."""
        self._state = state

    def leave(self) -> None:
        """Let another process have the domain, and all that was kept of it."""
        if self._state is not None:
            self._state.close()
            self._state = None

    def keep(self, saved: SavedEfi | None) -> None:
        """Save what of the guest's EFI another process needs."""
        if self._state is not None:
            if saved is None:
                self._state.remove(_EFI)
            else:
                self._state.save(_EFI, to_json(saved))

    def found(self, trampoline: Trampoline) -> SavedEfi | None:
        """Return what another process has saved, None for nothing; UsageError where it is amiss."""
        if self._state is None or (data := self._state.load(_EFI)) is None:
            return None
        return read_saved(data, trampoline, str(self._state.path / _EFI))

    def end(self) -> None:
        """Forget what goes with the guest."""
        self.hold(None)
        if self._passing is not None:
            with suppress(OSError):
                self._passing.unlink()


def open_directory(base: Path, domid: int, name: str) -> StateDirectory:
    """Return the directory of a domain; UsageError while another process serves it."""
    return StateDirectory.open(base / str(domid), f"domain {name}")


def served_domain(state: StateDirectory, uuid: str) -> ServedDomain | None:
    """Return what a domain's directory tells of it, None where it tells of no domain with this UUID.

    UsageError where it makes no sense.
    """
    data = state.load(_DOMAIN)
    if data is None:
        return None
    try:
        served = from_json(ServedDomain, data)
    except ValueError as error:
        raise UsageError(f"{state.path}: expected what pvefi has saved, found: {error}") from error
    return served if served.held.uuid == uuid else None


def served_domains(base: Path) -> list[tuple[ServedDomain, str]]:
    """Return each domain that has a directory, and the supervisor whose worker served it, empty for none.

    Others come and go meanwhile: what is not there any more, or makes no sense, is left out.
    """
    found = []
    for path in sorted(base.glob("[0-9]*")):
        with suppress(PvefiError, OSError, ValueError):
            served = from_json(ServedDomain, _json(path / _DOMAIN))
            owner = _json(path / OWNER) if (path / OWNER).exists() else ""
            found.append((served, from_json(str, owner)))
    return found


def unfinished(base: Path, supervisor: str) -> list[StateDirectory]:
    """Return the notes of this supervisor's workers that a domain is about to be made; see `uuid_of`."""
    found = []
    for path in sorted(base.glob(f"{_MAKING}*")):
        with suppress(PvefiError, OSError, ValueError):
            if _json(path / OWNER) == supervisor:
                found.append(StateDirectory.open(path, f"domain {path.name}"))
    return found


def uuid_of(note: StateDirectory) -> str:
    """Return the UUID of the domain that was about to be made."""
    return note.path.name.removeprefix(_MAKING)


def _json(path: Path) -> object:
    import json

    data: object = json.loads(
        bytes(read_file(path, "the state of a domain", less_than=1 << 20, way_out="remove it"))
    )
    return data
