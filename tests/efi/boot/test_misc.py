# SPDX-License-Identifier: GPL-2.0-or-later
"""Miscellaneous boot services as the guest calls them."""

from __future__ import annotations

import zlib

import pytest

from pvefi.efi.boot.misc import (
    calculate_crc32,
    copy_mem,
    install_configuration_table,
    set_mem,
    set_watchdog_timer,
    stall,
)
from pvefi.efi.errors import EfiError
from pvefi.errors import GuestFault
from pvefi.layout import Guid
from pvefi.spec.uefi.events import EventType, TimerDelay, Tpl
from pvefi.trace.events import Address

from .guest import SIZE, FakeGuest, value_of

TABLE = Guid.parse("44444444-0000-0000-0000-000000000001")
MIB = 1 << 20
A, B = Address(16 * MIB), Address(20 * MIB)


def test_a_watchdog_can_be_switched_off_and_not_on(guest: FakeGuest) -> None:
    set_watchdog_timer(guest.efi, 0, 0, 0, Address(0))
    with pytest.raises(EfiError, match="EFI_UNSUPPORTED"):
        set_watchdog_timer(guest.efi, 300, 0x10000, 0, Address(0))


def test_stalling_lets_that_much_time_pass(guest: FakeGuest) -> None:
    before = guest.time.now
    guest.run(stall(guest.efi, 1_234_567))
    assert guest.time.now - before == pytest.approx(1.234567)


def test_timers_notify_while_the_guest_stalls(guest: FakeGuest) -> None:
    event = guest.efi.events.create(EventType.TIMER | EventType.NOTIFY_SIGNAL, Tpl.CALLBACK, 0x5000)
    guest.efi.events.set_timer(event, TimerDelay.PERIODIC, 1_000_000)
    guest.run(stall(guest.efi, 1_050_000))
    assert len(guest.calls) == 10


def test_stalling_for_ages_ends_when_the_run_is_being_ended(guest: FakeGuest) -> None:
    guest.time.ending = True
    with pytest.raises(EfiError, match="being ended"):
        guest.run(stall(guest.efi, (1 << 64) - 1))


@pytest.mark.parametrize("size", [1, 100, 4096, 70000])
@pytest.mark.parametrize("distance", [-70001, -3, 0, 1, 64, 80000])
def test_copying_is_right_however_the_buffers_overlap(guest: FakeGuest, size: int, distance: int) -> None:
    data = bytes(at * 7 & 0xFF for at in range(size))
    guest.memory.write(A, data)
    guest.run(copy_mem(guest.efi, Address(A + distance), A, size))
    assert guest.memory.read(A + distance, size) == data


def test_copying_backwards_over_more_than_a_chunk_is_right(guest: FakeGuest) -> None:
    data = bytes(range(251)) * 13000
    guest.memory.write(A, data)
    guest.run(copy_mem(guest.efi, Address(A + 5), A, len(data)))
    assert guest.memory.read(A + 5, len(data)) == data


WILD = [
    (Address(SIZE - 1), 2),
    (Address(1 << 63), 1),
    (Address((1 << 64) - 1), 1),
    (A, SIZE),
    (A, 1 << 40),
    (A, 1 << 63),
    (A, (1 << 64) - 1),
]


@pytest.mark.parametrize(("address", "size"), WILD)
def test_wild_buffers_are_the_guests_fault(guest: FakeGuest, address: Address, size: int) -> None:
    before = guest.memory.read(A, 64)
    for body in (
        lambda: copy_mem(guest.efi, address, B, size),
        lambda: copy_mem(guest.efi, B, address, size),
        lambda: guest.run(set_mem(guest.efi, address, size, 0xFF)),
        lambda: calculate_crc32(guest.efi, address, size, guest.number(size=4)),
    ):
        with pytest.raises(GuestFault, match="bytes at"):
            guest.run(body())
    assert guest.memory.read(A, 64) == before


def test_no_bytes_can_be_copied_or_set_anywhere(guest: FakeGuest) -> None:
    guest.run(copy_mem(guest.efi, Address(1 << 63), Address(1), 0))
    guest.run(set_mem(guest.efi, Address(1 << 63), 0, 1))


def test_setting_fills_exactly_the_buffer(guest: FakeGuest) -> None:
    size = 3 * MIB + 17
    guest.run(set_mem(guest.efi, A, size, 0xAB))
    assert guest.memory.read(A - 1, size + 2) == b"\0" + b"\xab" * size + b"\0"


@pytest.mark.parametrize("size", [1, 1000, MIB, MIB + 1])
def test_the_crc_is_the_one_of_ieee(guest: FakeGuest, size: int) -> None:
    data = (b"pvefi" * (size // 5 + 1))[:size]
    guest.memory.write(A, data)
    crc = guest.number(size=4)
    calculate_crc32(guest.efi, A, size, crc)
    assert value_of(crc) == zlib.crc32(data)


def test_a_crc_of_nothing_is_refused(guest: FakeGuest) -> None:
    for address, size in ((Address(0), 4), (A, 0)):
        with pytest.raises(EfiError, match="EFI_INVALID_PARAMETER"):
            calculate_crc32(guest.efi, address, size, guest.number(size=4))


def test_a_configuration_table_comes_changes_and_goes(guest: FakeGuest) -> None:
    before = guest.efi.tables.configuration_tables
    for address in (A, B):
        install_configuration_table(guest.efi, TABLE, address)
        assert guest.efi.tables.configuration_tables == (*before, (TABLE, address))
    install_configuration_table(guest.efi, TABLE, Address(0))
    assert guest.efi.tables.configuration_tables == before
    with pytest.raises(EfiError, match="EFI_NOT_FOUND"):
        install_configuration_table(guest.efi, TABLE, Address(0))


def test_a_configuration_table_signals_the_group_of_its_name(guest: FakeGuest) -> None:
    guest.efi.events.create(EventType.NOTIFY_SIGNAL, Tpl.CALLBACK, 0x5000, 0, TABLE)
    install_configuration_table(guest.efi, TABLE, A)
    assert guest.efi.events.next_notification()
