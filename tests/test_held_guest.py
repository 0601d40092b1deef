# SPDX-License-Identifier: GPL-2.0-or-later
"""What a process leaves of a domain is what the next one finds, and only one at a time has it."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from pvefi.efi.profiles import PROFILES
from pvefi.efi.varstore.edk2 import Edk2Store
from pvefi.errors import MachineError, UsageError
from pvefi.guest import load_trampoline
from pvefi.held_guest import (
    HeldGuest,
    fresh_variables,
    open_directory,
    served_domain,
    served_domains,
    unfinished,
    uuid_of,
)
from pvefi.machines.embedded import EmbeddedMachine
from pvefi.machines.xen.held import HeldDomain
from pvefi.prepare import BootOptions
from pvefi.state_directory import StateDirectory
from pvefi.supervisor import OWNER

HELD = HeldDomain(7, "web", "8d3c2b1a-0000-4000-8000-000000000000", 3)


def options(variables: Path | None = None) -> BootOptions:
    return BootOptions(Path("/boot/vmlinuz"), EmbeddedMachine(), variables=variables)


@pytest.fixture
def guest(tmp_path: Path) -> HeldGuest:
    passing = fresh_variables(tmp_path, "one")
    return HeldGuest(tmp_path, "4711-9", options(), passing=passing, owned=True)


def test_a_domain_that_is_held_can_be_found_with_its_supervisor(guest: HeldGuest, tmp_path: Path) -> None:
    guest.hold(HELD)
    ((served, supervisor),) = served_domains(tmp_path)
    assert (served.held, supervisor) == (HELD, "4711-9")
    assert (served.image, served.entry, served.profile) == ("/boot/vmlinuz", "efi", PROFILES["linux"])
    assert (tmp_path / "7" / OWNER).read_text() == '"4711-9"'


def test_while_it_is_held_nobody_else_gets_it(guest: HeldGuest, tmp_path: Path) -> None:
    guest.hold(HELD)
    with pytest.raises(UsageError, match="domain web: expected one that nobody serves"):
        open_directory(tmp_path, 7, "web")
    guest.leave()
    state = open_directory(tmp_path, 7, "web")
    found = served_domain(state, HELD.uuid)
    assert found is not None
    assert found.held == HELD


def test_another_domain_of_the_same_number_is_another(guest: HeldGuest, tmp_path: Path) -> None:
    guest.hold(HELD)
    guest.leave()
    assert served_domain(open_directory(tmp_path, 7, "web"), "another") is None


def test_a_guest_that_becomes_another_domain_leaves_nothing_of_the_last(
    guest: HeldGuest, tmp_path: Path
) -> None:
    guest.hold(HELD)
    guest.hold(HeldDomain(8, "web", HELD.uuid, 0))
    assert [served.held.domid for served, _ in served_domains(tmp_path)] == [8]
    assert not (tmp_path / "7").exists()


def test_at_its_end_nothing_is_left(guest: HeldGuest, tmp_path: Path) -> None:
    guest.hold(HELD)
    guest.end()
    assert list(tmp_path.iterdir()) == []


def test_a_user_s_variables_stay(tmp_path: Path) -> None:
    store = fresh_variables(tmp_path, "one")
    guest = HeldGuest(tmp_path / "run", "", options(store), passing=None, owned=False)
    guest.hold(HELD)
    ((served, supervisor),) = served_domains(tmp_path / "run")
    assert (served.variables, served.passing, supervisor) == (str(store), False, "")
    guest.end()
    assert store.exists()


def test_variables_of_a_guest_without_a_file_are_made_once(tmp_path: Path) -> None:
    first = fresh_variables(tmp_path / "run", "one", again=True)
    with Edk2Store.open(first) as store:
        assert list(store) == []
    before = first.stat().st_ino
    assert fresh_variables(tmp_path / "run", "one", again=True).stat().st_ino == before


def test_a_new_guest_never_finds_the_variables_of_another(tmp_path: Path) -> None:
    fresh_variables(tmp_path, "one").write_bytes(b"another guest's secrets")
    assert b"secrets" not in fresh_variables(tmp_path, "one").read_bytes()


def test_no_room_for_variables_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "run").write_bytes(b"")
    with pytest.raises(MachineError, match="expected room for a guest's variables"):
        fresh_variables(tmp_path / "run", "one")


def test_a_domain_that_goes_while_others_are_looked_for_is_left_out(guest: HeldGuest, tmp_path: Path) -> None:
    guest.hold(HELD)
    shutil.copytree(tmp_path / "7", tmp_path / "8")
    (tmp_path / "8" / OWNER).unlink()
    (tmp_path / "8" / OWNER).mkdir()  # what cannot be read
    assert [served.held.domid for served, _ in served_domains(tmp_path)] == [7]


def test_a_guest_has_its_note_before_its_owner(
    guest: HeldGuest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = []
    save = StateDirectory.save

    def record(state: StateDirectory, name: str, value: object) -> None:
        saved.append(name)
        save(state, name, value)

    monkeypatch.setattr(StateDirectory, "save", record)
    guest.hold(HELD)
    assert saved == ["domain", OWNER]


def test_a_directory_that_makes_no_sense_is_one_line(guest: HeldGuest, tmp_path: Path) -> None:
    guest.hold(HELD)
    guest.leave()
    (tmp_path / "7" / "domain").write_text('{"held": 5}')
    assert list(served_domains(tmp_path)) == []
    with pytest.raises(UsageError, match="expected what pvefi has saved"):
        served_domain(open_directory(tmp_path, 7, "web"), HELD.uuid)


def test_nothing_is_found_of_efi_where_nothing_was_kept(guest: HeldGuest) -> None:
    trampoline = load_trampoline()
    assert guest.found(trampoline) is None
    guest.hold(HELD)
    assert guest.found(trampoline) is None
    guest.keep(None)
    assert guest.found(trampoline) is None


def notes(base: Path, supervisor: str) -> list[str]:
    found = unfinished(base, supervisor)
    for note in found:
        note.close()
    return [uuid_of(note) for note in found]


def test_a_domain_that_is_about_to_be_made_is_noted_until_it_is_held(
    guest: HeldGuest, tmp_path: Path
) -> None:
    guest.making(HELD.uuid)
    assert notes(tmp_path, "4711-9") == []  # its process lives
    child = os.fork()
    if not child:
        HeldGuest(tmp_path, "4711-9", options(), passing=None, owned=True).making("another")
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert notes(tmp_path, "4711-9") == ["another"]
    assert notes(tmp_path, "4711-8") == []
    guest.hold(HELD)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["7", "new-another", "variables-one"]


def test_a_domain_that_could_not_be_made_is_noted_no_more(guest: HeldGuest, tmp_path: Path) -> None:
    guest.making(HELD.uuid)
    guest.making("another")
    assert [one.name for one in tmp_path.glob("new-*")] == ["new-another"]
    guest.end()
    assert list(tmp_path.iterdir()) == []
