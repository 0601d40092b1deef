# SPDX-License-Identifier: GPL-2.0-or-later
"""What a process leaves of a domain is what the next one finds, and only one at a time has it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pvefi.efi.varstore.edk2 import Edk2Store
from pvefi.errors import UsageError
from pvefi.guest import load_trampoline
from pvefi.held_guest import HeldGuest, fresh_variables, open_directory, served_domain, served_domains
from pvefi.machines.embedded import EmbeddedMachine
from pvefi.machines.xen.held import HeldDomain
from pvefi.prepare import BootOptions
from pvefi.supervisor import OWNER

HELD = HeldDomain(7, "web", "8d3c2b1a-0000-4000-8000-000000000000", 3)


def options(variables: Path | None = None) -> BootOptions:
    return BootOptions(Path("/boot/vmlinuz"), EmbeddedMachine(), variables=variables)


@pytest.fixture
def guest(tmp_path: Path) -> HeldGuest:
    passing = fresh_variables(tmp_path, 1)
    return HeldGuest(tmp_path, 4711, options(), passing=passing, owned=True)


def test_a_domain_that_is_held_can_be_found_with_its_supervisor(guest: HeldGuest, tmp_path: Path) -> None:
    guest.hold(HELD)
    ((served, supervisor),) = served_domains(tmp_path)
    assert (served.held, supervisor) == (HELD, 4711)
    assert (served.image, served.entry, served.profile) == ("/boot/vmlinuz", "efi", "linux")
    assert (tmp_path / "7" / OWNER).read_text() == "4711"


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
    store = fresh_variables(tmp_path, 1)
    guest = HeldGuest(tmp_path / "run", 0, options(store), passing=None, owned=False)
    guest.hold(HELD)
    ((served, supervisor),) = served_domains(tmp_path / "run")
    assert (served.variables, served.passing, supervisor) == (str(store), False, 0)
    guest.end()
    assert store.exists()


def test_variables_of_a_guest_without_a_file_are_made_once(tmp_path: Path) -> None:
    first = fresh_variables(tmp_path / "run", 1)
    with Edk2Store.open(first) as store:
        assert list(store) == []
    first.touch()
    before = first.stat().st_ino
    assert fresh_variables(tmp_path / "run", 1).stat().st_ino == before


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
