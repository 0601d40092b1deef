# SPDX-License-Identifier: GPL-2.0-or-later
"""What a store's owner changes: all of it or nothing, and in a mode of Secure Boot that fits."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pvefi.efi.runtime.secure_boot import Mode, mode_of
from pvefi.efi.varstore.memory import MemoryStore
from pvefi.efi.varstore.store import NO_TIME, Variable, VariableStore
from pvefi.enrollment import Enrollment, enroll
from pvefi.errors import UsageError
from pvefi.owner_changes import now_or_later, put_all, remove_one
from pvefi.spec.pvefi.variables import SECURE_BOOT_MODE, StoredMode
from pvefi.spec.uefi.guids import GLOBAL_VARIABLE, PVEFI_VARIABLE
from pvefi.spec.uefi.signature_list import CERT_X509, SignatureList, packed, signature_lists
from pvefi.spec.uefi.time import Time
from pvefi.spec.uefi.variables import VariableAttribute
from tests.efi.boot.guest import FakeGuest
from tests.efi.varstore.flash import VENDOR, Flash, held, opened, store_on, variable

KEY, OTHER, ENROLLED_KEY = (
    Variable("PK", GLOBAL_VARIABLE, VariableAttribute(0x27), packed(lists))
    for lists in (SignatureList(CERT_X509, ((VENDOR, name),)) for name in (b"one", b"other", b"third"))
)
ENROLLED = Enrollment(pk=tuple(signature_lists(ENROLLED_KEY.data)))


def mode_variable(mode: StoredMode) -> Variable:
    return Variable(SECURE_BOOT_MODE, PVEFI_VARIABLE, VariableAttribute(0x23), bytes([mode]))


def mode_from(store: VariableStore) -> Mode:
    guest = FakeGuest()
    guest.surroundings.kept.variables = store
    return mode_of(guest.efi)


def store_with(*variables: Variable) -> MemoryStore:
    store = MemoryStore()
    for one in variables:
        store.put(one)
    return store


@pytest.mark.parametrize("there", [(), (KEY,)])
@pytest.mark.parametrize("mode", StoredMode)
def test_a_platform_key_of_the_owner_s_brings_user_mode(
    mode: StoredMode, there: tuple[Variable, ...]
) -> None:
    """A mode that is stored was of another PK, or of none."""
    enrolled = store_with(*there, mode_variable(mode))
    enroll(enrolled, ENROLLED)
    assert mode_from(enrolled) is Mode.USER
    changed = store_with(*there, mode_variable(mode))
    put_all(changed, [OTHER])
    assert mode_from(changed) is Mode.USER


@pytest.mark.parametrize("mode", StoredMode)
def test_a_mode_goes_with_the_platform_key_and_does_not_come_back_with_another(mode: StoredMode) -> None:
    store = store_with(KEY, mode_variable(mode))
    remove_one(store, KEY)
    assert list(store) == []
    store.put(OTHER)
    assert mode_from(store) is Mode.USER


def test_a_mode_stays_with_its_platform_key() -> None:
    store = store_with(KEY, mode_variable(StoredMode.DEPLOYED))
    put_all(store, [KEY, variable("A")])
    remove_one(store, variable("A"))
    assert mode_from(store) is Mode.DEPLOYED
    put_all(store, [OTHER, mode_variable(StoredMode.DEPLOYED)])  # both are of one document
    assert mode_from(store) is Mode.DEPLOYED


def test_there_is_room_for_all_or_nothing_is_written() -> None:
    flash = Flash()
    store = store_on(flash)
    store.put(variable("A", b"1" * 500))
    before = held(store)
    flash.steps.clear()
    with pytest.raises(UsageError, match=r"which the store has room for, found \d+ with B, C"):
        put_all(store, [variable("B", b"2" * 100), variable("C", b"3" * 250)])
    assert (held(store), flash.steps) == (before, [])


def test_what_has_room_in_the_end_is_written_in_whatever_order_it_is_given() -> None:
    store = opened(Flash().contents)
    for name, size in (("A", 600), ("B", 10)):
        store.put(variable(name, b"1" * size))
    put_all(store, [variable("B", b"2" * 600), variable("A", b"2" * 10)])
    assert held(store) == {"A": b"2" * 10, "B": b"2" * 600}


def test_the_last_byte_of_room_can_be_taken_by_several() -> None:
    store = opened(Flash().contents)
    room = store.capacity().remaining
    each = room // 2 // 4 * 4 - store.capacity().overhead - 4
    put_all(store, [variable("A", b"1" * (each - 3)), variable("B", b"2" * (each - 2))])
    assert store.capacity().remaining < 8


def test_of_several_of_one_name_the_last_counts() -> None:
    store = MemoryStore()
    put_all(store, [variable("A", b"1"), variable("A", b"2")])
    assert list(store) == [variable("A", b"2")]


def test_a_timestamp_never_goes_back() -> None:
    future = Time(2100, 1, 2, 3, 4, 5, 0, 0, 0, 0, 0).pack()
    old = replace(KEY, timestamp=future)
    assert now_or_later(KEY.attributes, old) == now_or_later(7, old) == future
    assert now_or_later(7, None) == NO_TIME
    assert Time.unpack(now_or_later(KEY.attributes, KEY)).year >= 2024
    store = store_with(replace(old, data=b""))
    enroll(store, ENROLLED)
    found = store.get("PK", GLOBAL_VARIABLE)
    assert found is not None
    assert found.timestamp == future
