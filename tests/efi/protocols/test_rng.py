# SPDX-License-Identifier: GPL-2.0-or-later
"""Random numbers as the guest gets them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pvefi.efi.errors import EfiError
from pvefi.efi.protocols.rng import get_info, get_rng
from pvefi.errors import GuestFault
from pvefi.layout import Guid
from pvefi.spec.uefi import guids
from pvefi.trace.events import Address
from tests.efi.boot.guest import SIZE, FakeGuest, value_of

THIS = Address(0)
MIB = 1 << 20


@pytest.fixture
def guest() -> FakeGuest:
    made = FakeGuest()
    made.efi.surroundings = replace(made.efi.surroundings, random=lambda count: b"\x5a" * count)
    return made


@pytest.mark.parametrize("algorithm", [None, guids.RNG_ALGORITHM_RAW])
def test_a_buffer_is_filled_and_nothing_beside_it(guest: FakeGuest, algorithm: Guid | None) -> None:
    buffer = guest.put(bytes(64))
    get_rng(guest.efi, THIS, algorithm, 33, Address(buffer + 8))
    assert guest.memory.read(buffer, 64) == bytes(8) + b"\x5a" * 33 + bytes(23)


@pytest.mark.parametrize("length", [2, 0x10000, MIB])
def test_a_buffer_that_ends_outside_memory_is_a_fault_and_stays_as_it_was(
    guest: FakeGuest, length: int
) -> None:
    start = SIZE - length + 1
    with pytest.raises(GuestFault):
        get_rng(guest.efi, THIS, None, length, Address(start))
    assert guest.memory.read(start, length - 1) == bytes(length - 1)


@pytest.mark.parametrize("length", [MIB + 1, SIZE + 1, (1 << 64) - 1])
def test_more_than_there_is_at_once_is_refused_before_any_work(guest: FakeGuest, length: int) -> None:
    guest.efi.surroundings = replace(guest.efi.surroundings, random=lambda _count: pytest.fail("work"))
    with pytest.raises(EfiError, match="EFI_NOT_READY"):
        get_rng(guest.efi, THIS, None, length, guest.put(b""))


def test_what_makes_no_sense_is_refused(guest: FakeGuest) -> None:
    for length, address in ((0, 0x1000), (1, 0)):
        with pytest.raises(EfiError, match="EFI_INVALID_PARAMETER"):
            get_rng(guest.efi, THIS, None, length, Address(address))
    with pytest.raises(EfiError, match="EFI_UNSUPPORTED: RNG_ALGORITHM_SP800_90_CTR_256"):
        get_rng(guest.efi, THIS, guids.RNG_ALGORITHM_SP800_90_CTR_256, 1, guest.put(bytes(8)))


def test_raw_is_the_only_algorithm(guest: FakeGuest) -> None:
    size, algorithms = guest.number(), guest.put(bytes(32))
    with pytest.raises(EfiError, match="EFI_BUFFER_TOO_SMALL"):
        get_info(guest.efi, THIS, size, algorithms)
    assert value_of(size) == Guid.SIZE
    get_info(guest.efi, THIS, size, algorithms)
    assert guest.memory.read(algorithms, 32) == guids.RNG_ALGORITHM_RAW.wire + bytes(16)
