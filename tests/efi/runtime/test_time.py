# SPDX-License-Identifier: GPL-2.0-or-later
"""Time services: the host's clock as a guest sees and sets it."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import pytest

from pvefi.efi.environment import Phase
from pvefi.efi.errors import EfiError
from pvefi.efi.runtime.time import get_time, get_wakeup_time, set_time, set_wakeup_time
from pvefi.efi.service import Out
from pvefi.efi.varstore.store import StoreFault
from pvefi.errors import GuestFault
from pvefi.spec.uefi.time import EFI_UNSPECIFIED_TIMEZONE, Time, TimeCapabilities
from pvefi.trace.events import Address
from tests.efi.boot.guest import SIZE, FakeGuest, value_of
from tests.efi.failing_store import FailingStore

NULL = Address(0)
SECOND = 1_000_000_000
WALL = Time(2023, 11, 14, 22, 13, 20, 0, 250_000_000, EFI_UNSPECIFIED_TIMEZONE, 0, 0)
"""What a new guest's clock shows: 1,700,000,000.25 s after 1970."""


def now(guest: FakeGuest) -> Time:
    place = guest.put(b"\xff" * Time.SIZE)
    get_time(guest.efi, place, NULL)
    return Time.unpack(guest.memory.read(place, Time.SIZE))


def set_to(guest: FakeGuest, time: Time) -> None:
    set_time(guest.efi, guest.put(time.pack()))


@pytest.mark.parametrize("phase", Phase)
def test_the_time_is_the_host_s_in_utc(guest: FakeGuest, phase: Phase) -> None:
    guest.efi.phase = phase
    assert now(guest) == WALL
    guest.time.wall += 86_400 * SECOND
    assert now(guest) == replace(WALL, day=15)


def test_the_clock_tells_its_capabilities(guest: FakeGuest) -> None:
    place = guest.put(bytes(TimeCapabilities.SIZE))
    get_time(guest.efi, guest.put(bytes(Time.SIZE)), place)
    found = TimeCapabilities.unpack(guest.memory.read(place, TimeCapabilities.SIZE))
    assert found == TimeCapabilities(SECOND, 50_000_000, 0)


def test_a_clock_that_was_set_goes_on_from_there(guest: FakeGuest) -> None:
    wanted = Time(1999, 12, 31, 23, 59, 59, 0, 500_000_000, -60, 3, 0)
    set_to(guest, wanted)
    assert now(guest) == wanted
    guest.time.wall += SECOND // 2
    assert now(guest) == Time(2000, 1, 1, 0, 0, 0, 0, 0, -60, 3, 0)


@pytest.mark.parametrize("year", [1900, 1969, 2026, 9999])
@pytest.mark.parametrize("nanosecond", [0, 1, 123_456_789, 999_999_999])
def test_a_time_is_told_to_the_nanosecond_that_was_set(guest: FakeGuest, year: int, nanosecond: int) -> None:
    wanted = replace(WALL, year=year, nanosecond=nanosecond)
    set_to(guest, wanted)
    assert now(guest) == wanted


def test_a_clock_that_was_set_stays_so_through_a_reset(guest: FakeGuest) -> None:
    wanted = Time(2040, 2, 29, 1, 2, 3, 0, 0, EFI_UNSPECIFIED_TIMEZONE, 1, 0)
    set_to(guest, wanted)
    guest.reset()
    assert now(guest) == wanted
    assert now(FakeGuest()) == WALL


@pytest.mark.parametrize(
    "wrong",
    [
        {"year": 1899},
        {"year": 10000},
        {"month": 0},
        {"month": 13},
        {"day": 0},
        {"month": 2, "day": 29},
        {"month": 11, "day": 31},
        {"hour": 24},
        {"minute": 60},
        {"second": 60},
        {"nanosecond": 1_000_000_000},
        {"time_zone": -1441},
        {"time_zone": 1441},
        {"time_zone": 2046},
        {"daylight": 4},
        {"daylight": 0x81},
    ],
    ids=str,
)
def test_a_field_out_of_range_is_refused_and_changes_nothing(guest: FakeGuest, wrong: dict[str, int]) -> None:
    with pytest.raises(EfiError, match=r"EFI_INVALID_PARAMETER: .*: expected .*, found"):
        set_to(guest, replace(WALL, **wrong))
    assert now(guest) == WALL


@pytest.mark.parametrize("right", [{"time_zone": -1440}, {"time_zone": 1440}, {"year": 1900}, {"year": 9999}])
def test_a_field_at_the_end_of_its_range_is_taken(guest: FakeGuest, right: dict[str, int]) -> None:
    wanted = replace(WALL, **right)
    set_to(guest, wanted)
    assert now(guest) == wanted


def test_a_clock_that_runs_out_of_years_fails(guest: FakeGuest) -> None:
    set_to(guest, Time(9999, 12, 31, 23, 59, 59, 0, 0, 0, 0, 0))
    for seconds in (2 * SECOND, 10**24):
        guest.time.wall += seconds
        with pytest.raises(EfiError, match="EFI_DEVICE_ERROR"):
            now(guest)
    set_to(guest, Time(1900, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0))
    guest.time.wall -= 2 * SECOND
    with pytest.raises(EfiError, match="EFI_DEVICE_ERROR: the clock shows the year 1899"):
        now(guest)


def test_time_without_a_place_is_refused(guest: FakeGuest) -> None:
    with pytest.raises(EfiError, match="EFI_INVALID_PARAMETER"):
        get_time(guest.efi, NULL, NULL)
    with pytest.raises(EfiError, match="EFI_INVALID_PARAMETER"):
        set_time(guest.efi, NULL)
    for wild in (SIZE - 4, SIZE, 1 << 63):
        with pytest.raises(GuestFault):
            get_time(guest.efi, Address(wild), NULL)
        with pytest.raises(GuestFault):
            set_time(guest.efi, Address(wild))


@pytest.mark.parametrize("fault", StoreFault)
@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("times", [1, 9])
@pytest.mark.parametrize("works", [0, 1, 2])
def test_a_clock_is_set_as_a_whole_or_not_at_all(
    guest: FakeGuest, fault: StoreFault, works: int, times: int, done: bool
) -> None:
    store = FailingStore(guest.surroundings.kept)
    before, after = Time(2030, 1, 2, 3, 4, 5, 0, 6, 60, 1, 0), Time(2040, 1, 1, 0, 0, 0, 0, 0, -60, 2, 0)
    set_to(guest, before)
    store.fail(fault, after=works, times=times, done=done)
    with nullcontext() if works else pytest.raises(EfiError, match="EFI_DEVICE_ERROR"):
        set_to(guest, after)
    assert now(guest) == (after if works or done else before)
    guest.reset()
    assert now(guest) == (after if works or done else before)


def test_nothing_is_left_of_a_first_setting_that_failed(guest: FakeGuest) -> None:
    store = FailingStore(guest.surroundings.kept)
    store.fail(StoreFault.FULL)
    with pytest.raises(EfiError, match="EFI_DEVICE_ERROR"):
        set_to(guest, replace(WALL, year=2040, time_zone=60))
    assert list(store) == []
    assert now(guest) == WALL


@pytest.mark.parametrize("phase", Phase)
def test_there_is_no_alarm(guest: FakeGuest, phase: Phase) -> None:
    guest.efi.phase = phase
    enabled, pending = (Out(guest.memory, guest.put(b"\7"), 1, bool) for _ in range(2))
    place = guest.put(b"\xff" * Time.SIZE)
    with pytest.raises(EfiError, match="EFI_UNSUPPORTED"):
        get_wakeup_time(guest.efi, enabled, pending, place)
    assert (value_of(enabled), value_of(pending)) == (7, 7)
    assert guest.memory.read(place, Time.SIZE) == b"\xff" * Time.SIZE
    for enable in (False, True):
        with pytest.raises(EfiError, match="EFI_UNSUPPORTED"):
            set_wakeup_time(guest.efi, enable, guest.put(WALL.pack()))
    with pytest.raises(EfiError, match="EFI_INVALID_PARAMETER"):
        get_wakeup_time(guest.efi, enabled, pending, NULL)
