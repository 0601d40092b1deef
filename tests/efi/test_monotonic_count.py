# SPDX-License-Identifier: GPL-2.0-or-later
"""The monotonic counter: no count ever comes again, whatever ends in between."""

from __future__ import annotations

from pathlib import Path

import pytest

from pvefi.efi.boot.misc import get_next_monotonic_count
from pvefi.efi.environment import Phase
from pvefi.efi.errors import EfiError
from pvefi.efi.kept import Kept
from pvefi.efi.runtime.counts import get_next_high_monotonic_count
from pvefi.efi.varstore.edk2 import empty_store
from pvefi.efi.varstore.store import StoreFault, Variable
from pvefi.spec.edk2.firmware_variables import MTC, MonotonicCounter
from pvefi.spec.edk2.ovmf import OVMF_2M
from pvefi.spec.uefi.guids import EDK2_MONOTONIC_COUNTER
from pvefi.spec.uefi.variables import VariableAttribute
from tests.efi.boot.guest import FakeGuest, value_of
from tests.efi.failing_store import FailingStore

HIGH = 1 << 32


def count(guest: FakeGuest) -> int:
    place = guest.number()
    get_next_monotonic_count(guest.efi, place)
    return value_of(place)


def high_count(guest: FakeGuest) -> int:
    place = guest.number(size=4)
    get_next_high_monotonic_count(guest.efi, place)
    return value_of(place)


def kept_high(guest: FakeGuest) -> int:
    found = guest.surroundings.kept.variables.get(MTC, EDK2_MONOTONIC_COUNTER)
    assert found is not None
    return MonotonicCounter.unpack(found.data).high


def keep(guest: FakeGuest, data: bytes) -> None:
    guest.surroundings.kept.variables.put(Variable(MTC, EDK2_MONOTONIC_COUNTER, VariableAttribute(7), data))


def test_the_low_half_counts_calls_and_the_high_half_boots(guest: FakeGuest) -> None:
    assert [count(guest) for _ in range(3)] == [HIGH, HIGH + 1, HIGH + 2]
    guest.reset()
    assert [count(guest) for _ in range(2)] == [2 * HIGH, 2 * HIGH + 1]


@pytest.mark.parametrize("phase", Phase)
def test_the_high_half_is_raised_by_each_call_for_it(guest: FakeGuest, phase: Phase) -> None:
    before = count(guest)
    guest.efi.phase = phase
    assert [high_count(guest) for _ in range(3)] == [2, 3, 4]
    assert kept_high(guest) == 4
    if phase is Phase.BOOT:
        assert count(guest) > max(before, 4 * HIGH)
    guest.reset()
    assert high_count(guest) == 5


def test_a_low_half_that_runs_over_raises_the_high_one(guest: FakeGuest) -> None:
    assert count(guest) == HIGH
    guest.efi.monotonic_count = 2 * HIGH - 2
    assert [count(guest) for _ in range(3)] == [2 * HIGH - 1, 2 * HIGH, 2 * HIGH + 1]
    assert kept_high(guest) == 2


def test_a_boot_that_never_asks_writes_nothing_and_one_that_does_writes_once(guest: FakeGuest) -> None:
    store = FailingStore(guest.surroundings.kept)
    guest.reset()
    assert store.changes == 0
    for _ in range(10):
        count(guest)
    assert store.changes == 1


def test_counts_go_on_from_where_ovmf_left_them(guest: FakeGuest) -> None:
    keep(guest, MonotonicCounter(41).pack())
    assert count(guest) == 42 * HIGH


@pytest.mark.parametrize("data", [b"\1", bytes(8)])
def test_a_kept_counter_that_is_none_counts_as_absent(guest: FakeGuest, data: bytes) -> None:
    keep(guest, data)
    assert count(guest) == HIGH
    assert kept_high(guest) == 1


def test_a_counter_that_is_used_up_fails_rather_than_to_begin_again(guest: FakeGuest) -> None:
    keep(guest, MonotonicCounter(HIGH - 2).pack())
    assert high_count(guest) == HIGH - 1
    for ask in (high_count, count):
        guest.efi.monotonic_count = None
        with pytest.raises(EfiError, match="EFI_DEVICE_ERROR: the counter has run out"):
            ask(guest)


@pytest.mark.parametrize("fault", StoreFault)
def test_a_high_half_that_cannot_be_kept_is_not_given_out(guest: FakeGuest, fault: StoreFault) -> None:
    store = FailingStore(guest.surroundings.kept)
    assert count(guest) == HIGH
    store.fail(fault)
    with pytest.raises(EfiError, match="EFI_DEVICE_ERROR"):
        high_count(guest)
    assert count(guest) == HIGH + 1  # which needs no store
    guest.reset()
    with pytest.raises(EfiError, match="EFI_DEVICE_ERROR"):
        count(guest)


def test_counts_grow_over_runs_on_one_store(tmp_path: Path) -> None:
    path = tmp_path / "vars.fd"
    path.write_bytes(empty_store(OVMF_2M))
    counts = []
    for _ in range(3):
        guest = FakeGuest()
        store = Kept.open(path)
        guest.surroundings.kept.variables = store.variables
        counts += [count(guest), count(guest)]
        store.close()
    assert counts == sorted(set(counts))
    assert counts[-1] == 3 * HIGH + 1
