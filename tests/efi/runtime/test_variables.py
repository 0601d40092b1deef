# SPDX-License-Identifier: GPL-2.0-or-later
"""Variable services of an environment without a store."""

from __future__ import annotations

import pytest

from pvefi.efi.environment import Phase
from pvefi.efi.errors import EfiError
from pvefi.efi.runtime.variables import (
    get_next_variable_name,
    get_variable,
    query_variable_info,
    set_variable,
)
from pvefi.efi.service import InOut
from pvefi.errors import GuestFault
from pvefi.layout import Guid
from pvefi.spec.uefi import guids
from pvefi.trace.events import Address
from tests.efi.boot.guest import SIZE, FakeGuest

NULL = Address(0)
VENDOR = guids.GLOBAL_VARIABLE


def vendor(guest: FakeGuest) -> InOut[Guid]:
    return InOut(guest.memory, guest.guid(VENDOR), Guid.SIZE, None)


def test_an_empty_store_has_no_first_variable(guest: FakeGuest) -> None:
    with pytest.raises(EfiError, match="EFI_NOT_FOUND"):
        get_next_variable_name(guest.efi, guest.number(2), guest.text(""), vendor(guest))


def test_there_is_no_going_on_from_a_variable_that_is_not_there(guest: FakeGuest) -> None:
    with pytest.raises(EfiError, match="EFI_INVALID_PARAMETER: no variable Boot0001 to go on from"):
        get_next_variable_name(guest.efi, guest.number(18), guest.text("Boot0001"), vendor(guest))


@pytest.mark.parametrize("size", [0, 1, 2, 16, 17])
def test_a_name_that_does_not_end_in_its_buffer_is_refused(guest: FakeGuest, size: int) -> None:
    with pytest.raises(EfiError, match=f"EFI_INVALID_PARAMETER: .*without an end in {size // 2} characters"):
        get_next_variable_name(guest.efi, guest.number(size), guest.text("Boot0001"), vendor(guest))


def test_a_buffer_that_does_not_end_a_name_is_not_left(guest: FakeGuest) -> None:
    name = guest.text("")
    name.address = Address(SIZE - 4)
    guest.memory.write(name.address, b"a\0b\0")
    with pytest.raises(EfiError, match="EFI_INVALID_PARAMETER"):
        get_next_variable_name(guest.efi, guest.number(4), name, vendor(guest))
    with pytest.raises(GuestFault):
        get_next_variable_name(guest.efi, guest.number(1 << 63), name, vendor(guest))


def test_variables_are_neither_found_nor_stored(guest: FakeGuest) -> None:
    with pytest.raises(EfiError, match="EFI_NOT_FOUND: no variable SecureBoot-"):
        get_variable(guest.efi, "SecureBoot", VENDOR, None, guest.number(), NULL)
    with pytest.raises(EfiError, match="EFI_WRITE_PROTECTED"):
        set_variable(guest.efi, "BootNext", VENDOR, 7, 0, NULL)
    with pytest.raises(EfiError, match="EFI_INVALID_PARAMETER"):
        set_variable(guest.efi, "", VENDOR, 7, 0, NULL)
    with pytest.raises(EfiError, match="EFI_UNSUPPORTED"):
        query_variable_info(guest.efi, 7, guest.number(), guest.number(), guest.number())


def test_after_boot_services_there_are_no_variable_services(guest: FakeGuest) -> None:
    guest.efi.phase = Phase.RUNTIME
    with pytest.raises(EfiError, match="EFI_UNSUPPORTED"):
        get_variable(guest.efi, "SecureBoot", VENDOR, None, guest.number(), NULL)
    with pytest.raises(EfiError, match="EFI_UNSUPPORTED"):
        get_next_variable_name(guest.efi, guest.number(2), guest.text(""), vendor(guest))
    with pytest.raises(EfiError, match="EFI_UNSUPPORTED"):
        set_variable(guest.efi, "BootNext", VENDOR, 7, 0, NULL)
