# SPDX-License-Identifier: GPL-2.0-or-later
"""One domain's directory: what a process that takes the domain over finds in it.

Every domain that is served has one, named after its number, under one base for all. What is in it: the domain
and its ioreq server (`domain`), its EFI (`efi`), and whose worker serves it (`supervisor`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pvefi.efi.resume import SavedEfi, read_saved
from pvefi.efi.varstore.edk2 import empty_store
from pvefi.errors import UsageError
from pvefi.files import read_file
from pvefi.frozen_json import from_json, to_json
from pvefi.guest.trampoline import Trampoline
from pvefi.machines.xen.held import HeldDomain
from pvefi.spec.edk2.ovmf import OVMF_4M
from pvefi.state_directory import StateDirectory
from pvefi.supervisor import OWNER

__all__ = ["BASE", "HeldGuest", "ServedDomain", "fresh_variables", "served_domains"]

BASE = Path("/run/pvefi")
"""Where the guests' directories are: it goes with the host's memory, as domains do."""
_DOMAIN, _EFI = "domain", "efi"


@dataclass(frozen=True)
class ServedDomain:
    """A domain as its directory tells of it; `variables` is the file that keeps its non-volatile variables.

    `passing` says that this file goes with the domain. `memory_size` is in bytes.
    """

    held: HeldDomain
    variables: str
    passing: bool
    memory_size: int


def fresh_variables(base: Path, number: int) -> Path:
    """Return the file with the variables of a guest whose user named none; made where it is missing."""
    base.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = base / f"variables-{number}"
    if not path.exists():
        new = path.with_suffix(".new")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(empty_store(OVMF_4M))
        new.replace(path)
    return path


class HeldGuest:
    """The directory of the domain that one guest of this process is, made anew for each that it becomes.

    `supervisor` is the process number of this worker's, 0 for none.
    """

    def __init__(
        self, base: Path, supervisor: int, variables: Path, *, passing: bool, memory_size: int
    ) -> None:
        self._base = base
        self._supervisor = supervisor
        self._variables = variables
        self._passing = passing
        self._memory_size = memory_size
        self._state: StateDirectory | None = None

    def hold(self, held: HeldDomain | None) -> None:
        """Leave a note of the domain before its guest runs; with None it has ended, and nobody goes on."""
        if self._state is not None:
            self._state.discard()
            self._state = None
        if held is None:
            return
        self._state = state = self._open(held)
        served = ServedDomain(held, str(self._variables), self._passing, self._memory_size)
        state.save(_DOMAIN, to_json(served))
        self._own(state)

    def take_over(self, held: HeldDomain) -> None:
        """Go on where another process has died; UsageError while another one serves it."""
        self._state = self._open(held)
        self._own(self._state)

    def _open(self, held: HeldDomain) -> StateDirectory:
        return StateDirectory.open(self._base / str(held.domid), f"domain {held.name}")

    def _own(self, state: StateDirectory) -> None:
        if self._supervisor:
            state.save(OWNER, self._supervisor)
        else:
            state.remove(OWNER)

    def keep(self, saved: SavedEfi | None) -> None:
        """Save what of the guest's EFI another process needs."""
        if self._state is not None:
            if saved is None:
                self._state.remove(_EFI)
            else:
                self._state.save(_EFI, to_json(saved))

    def found(self, trampoline: Trampoline) -> SavedEfi | None:
        """Return what another process has saved, None for nothing; UsageError where it is amiss."""
        data = self._state.load(_EFI) if self._state is not None else None
        return read_saved(data, trampoline, str(self._base / _EFI)) if data is not None else None

    def end(self) -> None:
        """Forget what goes with the guest."""
        if self._passing:
            with suppress(OSError):
                self._variables.unlink()

    @property
    def path(self) -> Path | None:
        """The directory."""
        return self._state.path if self._state is not None else None


def served_domains(base: Path) -> Iterator[tuple[ServedDomain, int]]:
    """Yield each domain that has a directory, and the supervisor whose worker served it, 0 for none."""
    for path in sorted(base.glob("[0-9]*")):
        with suppress(UsageError, ValueError):
            served = from_json(ServedDomain, _json(path / _DOMAIN))
            owner = path / OWNER
            yield served, int(owner.read_text()) if owner.exists() else 0


def _json(path: Path) -> object:
    import json

    data: object = json.loads(
        bytes(read_file(path, "the state of a domain", less_than=1 << 20, way_out="remove it"))
    )
    return data
