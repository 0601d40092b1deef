# SPDX-License-Identifier: GPL-2.0-or-later
"""The modes of Secure Boot: which way leads from one to the other, and what a crash on the way leaves."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest

from pvefi.efi.environment import Phase
from pvefi.efi.errors import EfiError
from pvefi.efi.runtime.secure_boot import mode_of
from pvefi.efi.runtime.stores import find
from pvefi.spec.uefi import guids
from tests.build.signed_update import signature_list
from tests.efi.boot.guest import FakeGuest
from tests.efi.runtime.test_authenticated_variables import (
    GLOBAL,
    KEK_OWNER,
    LASTING,
    OWNER_OF_PK,
    broken_off,
    mode,
    write,
)
from tests.efi.runtime.test_variables import APPEND, BS, NV, RT, put, read, refused

SETUP, AUDIT, USER, DEPLOYED = (1, 0, 0), (1, 1, 0), (0, 0, 0), (0, 0, 1)
AUDIT_BY_USER = (*AUDIT, USER)
"""Audit mode, come to from user mode."""
KEY = signature_list(OWNER_OF_PK.der)


def ask(guest: FakeGuest, name: str, data: bytes = b"\1", attributes: int = BS | RT) -> None:
    put(guest, name, data, attributes, GLOBAL)


def enrol(guest: FakeGuest, at: int = 0) -> None:
    write(guest, "PK", KEY, None, at, vendor=GLOBAL)


def clear(guest: FakeGuest, at: int = 1) -> None:
    write(guest, "PK", b"", OWNER_OF_PK, at, vendor=GLOBAL)


def take(guest: FakeGuest, step: str) -> None:
    """Enrol the platform key, clear it, or ask for a mode."""
    if step == "PK":
        enrol(guest, 2)
    elif step == "no PK":
        clear(guest)
    else:
        ask(guest, step)


WAYS: dict[tuple[object, ...], list[Callable[[FakeGuest], None]]] = {
    SETUP: [],
    USER: [enrol],
    AUDIT: [lambda guest: ask(guest, "AuditMode")],
    AUDIT_BY_USER: [enrol, lambda guest: ask(guest, "AuditMode")],
    DEPLOYED: [enrol, lambda guest: ask(guest, "DeployedMode")],
}


def bring(guest: FakeGuest, wanted: tuple[object, ...]) -> None:
    for step in WAYS[wanted]:
        step(guest)
    assert mode(guest) == wanted[:3]


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize(
    ("before", "step", "after"),
    [
        (SETUP, "PK", USER),
        (SETUP, "AuditMode", AUDIT),
        (AUDIT, "PK", DEPLOYED),
        (AUDIT_BY_USER, "PK", DEPLOYED),
        (USER, "no PK", SETUP),
        (USER, "AuditMode", AUDIT),
        (USER, "DeployedMode", DEPLOYED),
        (DEPLOYED, "no PK", SETUP),
    ],
)
def test_a_way_between_modes_takes_effect_at_once_and_lasts(
    guest: FakeGuest, before: tuple[object, ...], step: str, after: tuple[int, int, int], again: bool
) -> None:
    bring(guest, before)
    if again:
        guest.reset()
        assert mode(guest) == before[:3]
    take(guest, step)
    for _ in range(2):
        assert mode(guest) == after
        if after in (SETUP, AUDIT):
            with refused("NOT_FOUND"):
                read(guest, "PK", GLOBAL)
        guest.reset()


@pytest.mark.parametrize(
    ("before", "name"),
    [
        (SETUP, "DeployedMode"),
        (AUDIT, "DeployedMode"),
        (AUDIT, "AuditMode"),
        (DEPLOYED, "AuditMode"),
        (DEPLOYED, "DeployedMode"),
    ],
)
@pytest.mark.parametrize("data", [b"\0", b"\1", b"", b"\1\1"])
def test_where_there_is_no_way_the_variables_are_read_only(
    guest: FakeGuest, before: tuple[int, int, int], name: str, data: bytes
) -> None:
    bring(guest, before)
    with refused("WRITE_PROTECTED"):
        ask(guest, name, data)
    assert mode(guest) == before


@pytest.mark.parametrize("name", ["AuditMode", "DeployedMode"])
def test_only_0_and_1_say_anything_and_0_changes_nothing(guest: FakeGuest, name: str) -> None:
    bring(guest, USER)
    ask(guest, name, b"\0")
    for data in (b"\2", b"\1\0", b"\xff"):
        with refused("INVALID_PARAMETER"):
            ask(guest, name, data)
    for attributes in map(int, (NV | BS | RT, BS, BS | RT | APPEND)):
        with refused("INVALID_PARAMETER"):
            ask(guest, name, attributes=attributes)
    for data, attributes in ((b"", BS | RT), (b"", 0)):
        with refused("WRITE_PROTECTED"):
            ask(guest, name, data, attributes)
    assert mode(guest) == USER
    guest.efi.phase = Phase.RUNTIME
    with refused("WRITE_PROTECTED"):
        ask(guest, name)


def test_keys_are_open_in_audit_mode_and_closed_in_deployed_mode(guest: FakeGuest) -> None:
    bring(guest, AUDIT)
    write(guest, "KEK", KEY, None, vendor=GLOBAL)
    enrol(guest)
    assert mode(guest) == DEPLOYED
    for signer in (None, KEK_OWNER):
        for name in ("PK", "KEK"):
            with refused("SECURITY_VIOLATION"):
                write(guest, name, KEY, signer, 5, vendor=GLOBAL)
    write(guest, "PK", KEY, OWNER_OF_PK, 5, vendor=GLOBAL)
    assert mode(guest) == DEPLOYED


def test_deployed_mode_is_of_one_platform_key(guest: FakeGuest) -> None:
    bring(guest, DEPLOYED)
    # As OVMF would, which knows nothing of the mode.
    guest.efi.surroundings.kept.variables.remove("PK", GLOBAL)
    guest.reset()
    assert mode(guest) == SETUP
    enrol(guest)
    assert mode(guest) == USER


def test_what_pvefi_keeps_of_the_mode_nobody_else_changes(guest: FakeGuest) -> None:
    bring(guest, AUDIT)
    own = ("SecureBootMode", guids.PVEFI_VARIABLE)
    kept = guest.efi.surroundings.kept.variables.get(*own)
    assert kept is not None
    with refused("WRITE_PROTECTED"):
        put(guest, own[0], b"", 0, own[1])
    write(guest, "Mine")
    store = guest.efi.surroundings.kept.variables.get("certdb", guids.EDK2_CERT_DB)
    assert store is not None
    assert "SecureBootMode".encode("utf-16-le") not in store.data, "OVMF would let its maker write it"
    assert kept.attributes & LASTING == LASTING & ~RT


@pytest.mark.parametrize("times", [1, 9])
@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("good", range(4))
@pytest.mark.parametrize(
    ("before", "step"),
    [
        (SETUP, "PK"),
        (SETUP, "AuditMode"),
        (AUDIT, "PK"),
        (AUDIT_BY_USER, "PK"),
        (USER, "no PK"),
        (USER, "AuditMode"),
        (USER, "DeployedMode"),
        (DEPLOYED, "no PK"),
    ],
)
def test_whatever_fails_on_the_way_leaves_the_mode_before_or_after(
    guest: FakeGuest, before: tuple[object, ...], step: str, good: int, done: bool, times: int
) -> None:
    bring(guest, before)
    after = {
        "PK": USER if before == SETUP else DEPLOYED,
        "no PK": SETUP,
        "AuditMode": AUDIT,
        "DeployedMode": DEPLOYED,
    }[step]
    restart = broken_off(guest, good, done=done, times=times)
    with suppress(EfiError):
        take(guest, step)
    found = mode(guest)
    assert found in (before[:3], after)
    if good >= 2:
        assert found == after
    assert mode_of(guest.efi).is_open == (find(guest.efi, "PK", GLOBAL) is None)
    restart()
    assert mode(guest) == found, "what was told is what is so"
    if found == USER and step != "DeployedMode":  # whatever was begun means nothing from now on
        clear(guest, 5)
        assert mode(guest) == SETUP
