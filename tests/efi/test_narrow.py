# SPDX-License-Identifier: GPL-2.0-or-later
"""An environment from which something is taken away is like one that never had it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pvefi.efi.environment import Environment
from pvefi.efi.narrow import narrow
from pvefi.efi.profiles import PROFILES, Profile
from pvefi.layout import Guid
from pvefi.spec.uefi import guids
from pvefi.spec.uefi.status import EfiStatus
from tests.efi.boot.guest import FakeGuest

LINUX = PROFILES["linux"]


def less(*, services: frozenset[str] = frozenset(), protocols: frozenset[Guid] = frozenset()) -> Profile:
    return replace(
        LINUX,
        services=LINUX.services - services,
        protocols=LINUX.protocols - protocols,
        protocol_refusals=tuple((guid, EfiStatus.UNSUPPORTED) for guid in protocols),
    )


def seen(efi: Environment) -> object:
    """Return what a guest can see of an environment, but for where it stands."""
    found = {guid: len(efi.handles.handles_with(guid)) for guid in sorted(LINUX.protocols)}
    tables = {
        guid: efi.physical.read(address, 8) if guid == guids.RT_PROPERTIES_TABLE else b""
        for guid, address in efi.tables.configuration_tables
    }
    return found, tables, [bool(one) for one in efi.tables.consoles], efi.profile, efi.pages.descriptors()


@pytest.mark.parametrize(
    "profile",
    [
        *(less(protocols=frozenset({guid})) for guid in sorted(LINUX.protocols)),
        less(services=frozenset({"GetVariable", "Stall"})),
        replace(LINUX, protocols=frozenset()),
    ],
    ids=lambda profile: "-".join(guids.guid_name(guid) for guid in LINUX.protocols - profile.protocols)[:40],
)
def test_it_looks_as_one_that_began_so(profile: Profile) -> None:
    narrowed = FakeGuest()
    narrow(narrowed.efi, profile)
    assert seen(narrowed.efi) == seen(FakeGuest(profile).efi)


def test_what_the_guest_installed_itself_stays() -> None:
    guest = FakeGuest()
    handle = guest.efi.handles.install(0, guids.RNG_PROTOCOL, 0x1234)
    narrow(guest.efi, less(protocols=frozenset({guids.RNG_PROTOCOL})))
    assert guest.efi.handles.handles_with(guids.RNG_PROTOCOL) == (handle,)


@pytest.mark.parametrize(
    "more", [{"services": LINUX.services}, {"protocols": LINUX.protocols}, {"stays": True}]
)
def test_nothing_can_be_given_so(more: dict[str, object]) -> None:
    before = PROFILES["minimal"]
    guest = FakeGuest(before)
    with pytest.raises(ValueError, match="offers"):
        narrow(guest.efi, replace(before, **more))  # type: ignore[arg-type]  # keywords of one type each
