# SPDX-License-Identifier: GPL-2.0-or-later
"""Random numbers: the host's, as many as asked for, and nowhere else."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from pvefi.efi.errors import EfiError
from pvefi.efi.protocols import rng
from pvefi.errors import GuestFault
from pvefi.layout import Guid
from pvefi.spec.uefi import guids
from pvefi.spec.uefi.status import EfiStatus
from pvefi.trace.events import Address
from tests.efi.boot.guest import SIZE, FakeGuest

THIS = Address(0)
RAW = Guid.parse("e43176d7-b6e8-4827-b784-7ffdc4b68561")  # UEFI 2.10 §37.5
BUFFER = Address(0x20_0000)


@pytest.fixture
def guest() -> FakeGuest:
    guest = FakeGuest()
    guest.efi.surroundings = replace(guest.efi.surroundings, random=random.Random(7).randbytes)
    return guest


def refused(status: EfiStatus, text: str = "") -> pytest.RaisesExc[EfiError]:
    return pytest.raises(EfiError, match=f"{status.efi_name}: .*{text}")


@pytest.mark.parametrize("length", [1, 8, 32, 65_535, 65_536, 65_537, 200_000])
@pytest.mark.parametrize("algorithm", [None, RAW], ids=["default", "raw"])
def test_the_buffer_is_filled_and_nothing_beside_it(
    guest: FakeGuest, length: int, algorithm: Guid | None
) -> None:
    rng.get_rng(guest.efi, THIS, algorithm, length, BUFFER)
    found = guest.memory.read(BUFFER - 8, length + 16)
    assert found[:8] == found[-8:] == bytes(8)
    if length >= 8:
        assert any(found[8:-8])
        assert any(found[-16:-8])


def test_a_seeded_sequence_repeats_and_goes_on(guest: FakeGuest) -> None:
    expected = random.Random(7)
    for _ in range(2):
        rng.get_rng(guest.efi, THIS, None, 16, BUFFER)
        assert guest.memory.read(BUFFER, 16) == expected.randbytes(16)


@pytest.mark.parametrize(("length", "value"), [(0, BUFFER), (8, Address(0))])
def test_no_buffer_is_an_invalid_parameter(guest: FakeGuest, length: int, value: Address) -> None:
    with refused(EfiStatus.INVALID_PARAMETER):
        rng.get_rng(guest.efi, THIS, None, length, value)


def test_other_algorithms_are_unsupported(guest: FakeGuest) -> None:
    with refused(EfiStatus.UNSUPPORTED):
        rng.get_rng(guest.efi, THIS, guids.RNG_PROTOCOL, 8, BUFFER)


@pytest.mark.parametrize("length", [2, 65_537, 1 << 20])
def test_a_buffer_that_is_not_all_memory_is_a_fault_and_nothing_is_written(
    guest: FakeGuest, length: int
) -> None:
    start = SIZE - length + 1
    with pytest.raises(GuestFault):
        rng.get_rng(guest.efi, THIS, None, length, Address(start))
    assert guest.memory.read(start, length - 1) == bytes(length - 1)


@pytest.mark.parametrize("length", [(1 << 20) + 1, SIZE, 1 << 40, (1 << 64) - 1])
def test_more_than_there_is_at_once_is_refused_before_any_work(guest: FakeGuest, length: int) -> None:
    guest.efi.surroundings = replace(guest.efi.surroundings, random=lambda _count: pytest.fail("work"))
    with refused(EfiStatus.NOT_READY):
        rng.get_rng(guest.efi, THIS, None, length, BUFFER)


def test_the_only_algorithm_is_raw(guest: FakeGuest) -> None:
    size = guest.number(16)
    rng.get_info(guest.efi, THIS, size, BUFFER)
    assert size.get() == 16
    assert guest.memory.read(BUFFER, 16) == RAW.wire


@pytest.mark.parametrize(("given", "buffer"), [(0, Address(0)), (15, BUFFER), (100, Address(0))])
def test_a_list_that_does_not_fit_tells_its_size(guest: FakeGuest, given: int, buffer: Address) -> None:
    size = guest.number(given)
    with refused(EfiStatus.BUFFER_TOO_SMALL):
        rng.get_info(guest.efi, THIS, size, buffer)
    assert size.get() == 16
    assert guest.memory.read(BUFFER, 16) == bytes(16)


def test_the_protocol_is_where_the_profile_offers_it() -> None:
    assert len(FakeGuest().efi.handles.handles_with(guids.RNG_PROTOCOL)) == 1
    assert not FakeGuest("minimal").efi.handles.handles_with(guids.RNG_PROTOCOL)
