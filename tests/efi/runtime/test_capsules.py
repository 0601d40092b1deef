# SPDX-License-Identifier: GPL-2.0-or-later
"""Capsules are refused, each way of asking wrongly with the status that the specification has for it."""

from __future__ import annotations

import pytest

from pvefi.efi import runtime
from pvefi.efi.environment import Phase
from pvefi.efi.errors import EfiError
from pvefi.efi.runtime.capsules import query_capsule_capabilities, update_capsule
from pvefi.efi.service import Arguments, Out
from pvefi.errors import GuestFault
from pvefi.layout import Guid
from pvefi.spec.uefi.capsule import CapsuleFlag, CapsuleHeader
from pvefi.spec.uefi.reset import ResetType
from pvefi.trace.events import Address
from tests.efi.boot.guest import SIZE, FakeGuest, value_of

FIRMWARE_MANAGEMENT = Guid.parse("6dcbd5ed-e82d-4c44-bda1-7194199ad92a")  # UEFI 2.10 §23.3
NULL, LIST = Address(0), Address(0x200000)


def capsules(guest: FakeGuest, *flags: int) -> Address:
    """Return an array of pointers to capsules with these flags."""
    headers = [guest.put(CapsuleHeader(FIRMWARE_MANAGEMENT, 28, one, 64).pack()) for one in flags]
    return guest.put(b"".join(header.to_bytes(8, "little") for header in headers))


def query(guest: FakeGuest, array: Address, count: int) -> None:
    size = guest.number(7)
    kind = Out(guest.memory, guest.put(b"\7\0\0\0"), 4, ResetType)
    try:
        query_capsule_capabilities(guest.efi, array, count, size, kind)
    finally:
        assert (value_of(size), value_of(kind)) == (7, 7)


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize(
    "flags",
    [
        (0,),
        (0xFFFF,),
        (CapsuleFlag.PERSIST_ACROSS_RESET,),
        (CapsuleFlag.PERSIST_ACROSS_RESET | CapsuleFlag.INITIATE_RESET,),
        (CapsuleFlag.PERSIST_ACROSS_RESET | CapsuleFlag.POPULATE_SYSTEM_TABLE, 0),
    ],
)
def test_no_kind_of_capsule_is_supported(guest: FakeGuest, phase: Phase, flags: tuple[int, ...]) -> None:
    guest.efi.phase = phase
    array = capsules(guest, *flags)
    with pytest.raises(EfiError, match=f"EFI_UNSUPPORTED: capsules of {FIRMWARE_MANAGEMENT}"):
        update_capsule(guest.efi, array, len(flags), LIST)
    with pytest.raises(EfiError, match="EFI_UNSUPPORTED"):
        query(guest, array, len(flags))


@pytest.mark.parametrize("flag", [CapsuleFlag.POPULATE_SYSTEM_TABLE, CapsuleFlag.INITIATE_RESET])
@pytest.mark.parametrize("before", [(), (0,), (int(CapsuleFlag.PERSIST_ACROSS_RESET),) * 3])
def test_flags_that_need_persistence_are_refused_without(
    guest: FakeGuest, flag: int, before: tuple[int, ...]
) -> None:
    array = capsules(guest, *before, flag)
    line = f"EFI_INVALID_PARAMETER: capsule {len(before)} has flags"
    with pytest.raises(EfiError, match=line):
        update_capsule(guest.efi, array, len(before) + 1, LIST)
    with pytest.raises(EfiError, match=line):
        query(guest, array, len(before) + 1)


def test_no_capsules_are_refused_whatever_the_array(guest: FakeGuest) -> None:
    for array, count in ((NULL, 0), (Address(SIZE), 0), (NULL, 1), (guest.put(bytes(8)), 1)):
        with pytest.raises(EfiError, match="EFI_INVALID_PARAMETER"):
            update_capsule(guest.efi, array, count, LIST)
        with pytest.raises(EfiError, match="EFI_INVALID_PARAMETER"):
            query(guest, array, count)


def test_a_capsule_that_is_to_persist_has_to_stand_somewhere(guest: FakeGuest) -> None:
    array = capsules(guest, CapsuleFlag.PERSIST_ACROSS_RESET)
    with pytest.raises(EfiError, match=r"EFI_INVALID_PARAMETER: .*ScatterGatherList is NULL"):
        update_capsule(guest.efi, array, 1, NULL)
    with pytest.raises(EfiError, match="EFI_UNSUPPORTED"):
        update_capsule(guest.efi, capsules(guest, 0), 1, NULL)


def test_a_query_without_a_place_for_its_answers_is_refused(guest: FakeGuest) -> None:
    array, place = capsules(guest, 0), guest.put(bytes(16))
    stack = guest.put(bytes(0x28) + bytes(8))
    for registers in ((array, 1, NULL, place), (array, 1, place, NULL)):
        with pytest.raises(EfiError, match=r"EFI_INVALID_PARAMETER: .* is NULL"):
            runtime.SERVICES["QueryCapsuleCapabilities"].decode(Arguments(guest.memory, registers, stack))


def test_wild_pointers_are_the_guest_s_fault_and_not_all_of_very_many_are_read(
    guest: FakeGuest,
) -> None:
    for array in (Address(SIZE), guest.put(SIZE.to_bytes(8, "little"))):
        with pytest.raises(GuestFault):
            update_capsule(guest.efi, array, 1, LIST)
    with pytest.raises(EfiError, match="EFI_UNSUPPORTED"):
        update_capsule(guest.efi, capsules(guest, *[0] * 64), 1 << 60, LIST)
