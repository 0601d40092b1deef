# SPDX-License-Identifier: GPL-2.0-or-later
"""What the firmware keeps in variables: in edk2's formats, safe from guests, sane whatever a store holds."""

from __future__ import annotations

import pytest

from pvefi.efi.environment import Phase
from pvefi.efi.errors import EfiError
from pvefi.efi.own_variables import ClockSetting, keep_clock_setting, read_clock_setting
from pvefi.efi.runtime.variables import get_variable, set_variable
from pvefi.efi.varstore.memory import MemoryStore
from pvefi.efi.varstore.store import Variable
from pvefi.layout import Guid
from pvefi.spec.edk2.firmware_variables import MTC, RTC
from pvefi.spec.pvefi.variables import CLOCK_OFFSET
from pvefi.spec.uefi.guids import EDK2_MONOTONIC_COUNTER, EDK2_REAL_TIME_CLOCK, PVEFI_VARIABLE
from pvefi.spec.uefi.time import EFI_UNSPECIFIED_TIMEZONE
from pvefi.spec.uefi.variables import VariableAttribute
from tests.efi.boot.guest import FakeGuest

USUAL = VariableAttribute(7)
OWN = [(MTC, EDK2_MONOTONIC_COUNTER), (RTC, EDK2_REAL_TIME_CLOCK), (CLOCK_OFFSET, PVEFI_VARIABLE)]


@pytest.mark.parametrize(
    ("setting", "data"),
    [
        (ClockSetting(0, 60, 3), b"\x3c\0\3\0"),
        (ClockSetting(0, -60, 0), b"\xc4\xff\0\0"),
        (ClockSetting(0, EFI_UNSPECIFIED_TIMEZONE, 1), b"\xff\x07\1\0"),
        (ClockSetting(0, EFI_UNSPECIFIED_TIMEZONE, 0), None),
    ],
)
def test_time_zone_and_daylight_are_kept_where_and_as_edk2_does(
    setting: ClockSetting, data: bytes | None
) -> None:
    # edk2 PcRtc.c: ((UINT32)Daylight << 16) | (UINT16)TimeZone; and no variable where nothing is specified
    store = MemoryStore()
    for before in (None, ClockSetting(0, 1, 1)):
        if before is not None:
            keep_clock_setting(store, before)
        keep_clock_setting(store, setting)
        found = store.get(RTC, EDK2_REAL_TIME_CLOCK)
        assert (found and found.data) == data
        assert found is None or found.attributes == USUAL
        assert read_clock_setting(store) == setting


@pytest.mark.parametrize("offset", [0, 1, -1, 999_999_999, 10**9, -(10**9) - 1, 255 * 10**18, -63 * 10**18])
def test_an_offset_is_kept_to_the_nanosecond(offset: int) -> None:
    store = MemoryStore()
    keep_clock_setting(store, ClockSetting(offset, 0, 0))
    assert read_clock_setting(store) == ClockSetting(offset, 0, 0)


def test_the_offset_has_the_documented_form() -> None:
    store = MemoryStore()
    keep_clock_setting(store, ClockSetting(-1, -60, 3))
    found = store.get(CLOCK_OFFSET, PVEFI_VARIABLE)
    assert found == Variable(
        CLOCK_OFFSET,
        PVEFI_VARIABLE,
        USUAL,
        (-1).to_bytes(8, "little", signed=True) + (999_999_999).to_bytes(4, "little") + b"\xc4\xff\3\0",
    )


def test_what_ovmf_keeps_of_the_clock_counts_until_pvefi_has_set_it() -> None:
    store = MemoryStore()
    store.put(Variable(*OWN[1], USUAL, b"\x3c\0\1\0"))
    assert read_clock_setting(store) == ClockSetting(0, 60, 1)
    keep_clock_setting(store, ClockSetting(5, -60, 2))
    store.put(Variable(*OWN[1], USUAL, b"\x3c\0\1\0"))
    assert read_clock_setting(store) == ClockSetting(5, -60, 2), "the hour was set with this time zone"


@pytest.mark.parametrize(
    ("key", "data"),
    [
        (OWN[1], b""),
        (OWN[1], b"\x3c\0\3"),
        (OWN[1], b"\x3c\0\3\0\0"),
        (OWN[1], b"\xfe\x07\0\0"),
        (OWN[1], b"\x3c\0\4\0"),
        (OWN[2], bytes(12)),
        (OWN[2], b"\1" * 7 + b"\0" + (10**9).to_bytes(4, "little") + bytes(4)),
        (OWN[2], b"\1" * 12 + b"\xfe\x07\0\0"),
        (OWN[2], b"\1" * 12 + b"\x3c\0\4\0"),
    ],
)
def test_a_setting_that_makes_no_sense_counts_as_none(key: tuple[str, Guid], data: bytes) -> None:
    store = MemoryStore()
    store.put(Variable(*key, USUAL, data))
    assert read_clock_setting(store) == ClockSetting()


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize(("name", "vendor"), OWN)
def test_a_guest_sees_them_and_can_neither_make_nor_change_nor_delete_them(
    guest: FakeGuest, phase: Phase, name: str, vendor: Guid
) -> None:
    guest.efi.phase = phase
    data = guest.put(bytes(4))
    store = guest.surroundings.kept.variables
    for there in (False, True):
        if there:
            store.put(Variable(name, vendor, USUAL, b"1234"))
        for attributes, size in ((7, 4), (0, 0), (0x47, 4)):
            with pytest.raises(EfiError, match="EFI_WRITE_PROTECTED"):
                set_variable(guest.efi, name, vendor, VariableAttribute(attributes), size, data)
        assert [one.data for one in store] == [b"1234"] * there
    buffer = guest.put(bytes(4))
    get_variable(guest.efi, name, vendor, None, guest.number(4), buffer)
    assert guest.memory.read(buffer, 4) == b"1234"


def test_others_of_the_same_name_are_the_guest_s(guest: FakeGuest) -> None:
    for name, vendor in ((MTC, EDK2_REAL_TIME_CLOCK), ("mtc", EDK2_MONOTONIC_COUNTER)):
        set_variable(guest.efi, name, vendor, USUAL, 4, guest.put(b"mine"))
        assert guest.surroundings.kept.variables.get(name, vendor) is not None
