# SPDX-License-Identifier: GPL-2.0-or-later
"""What the firmware keeps in variables of its own is told in words."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvefi.efi.authentication.creators import pack_creators
from pvefi.efi.own_variables import ClockSetting, keep_clock_setting, next_high_count
from pvefi.efi.varstore.memory import MemoryStore
from pvefi.efi.varstore.store import Variable
from pvefi.layout import Guid
from pvefi.report.variable_values import meaning_of
from pvefi.spec.edk2.firmware_variables import MEMORY_TYPE_INFORMATION, MTC, RTC
from pvefi.spec.pvefi.variables import CLOCK_OFFSET
from pvefi.spec.uefi.guids import (
    EDK2_CERT_DB,
    EDK2_MEMORY_TYPE_INFORMATION,
    EDK2_MONOTONIC_COUNTER,
    EDK2_REAL_TIME_CLOCK,
    GLOBAL_VARIABLE,
    PVEFI_VARIABLE,
)
from pvefi.spec.uefi.time import EFI_UNSPECIFIED_TIMEZONE
from pvefi.spec.uefi.variables import VariableAttribute
from pvefi.trace.values import Json


@pytest.mark.parametrize(
    ("setting", "lines", "value"),
    [
        (
            ClockSetting(3_600_000_000_001, 60, 3),
            [
                "the host's clock +3600.000000001 s, time zone 60 minutes, daylight 3",
                "time zone 60 minutes, daylight 3",
            ],
            {"nanoseconds": 3_600_000_000_001, "time_zone": 60, "daylight": 3},
        ),
        (
            ClockSetting(-500_000_000, EFI_UNSPECIFIED_TIMEZONE, 1),
            [
                "the host's clock -0.500000000 s, time zone unspecified, daylight 1",
                "time zone unspecified, daylight 1",
            ],
            {"nanoseconds": -500_000_000, "time_zone": EFI_UNSPECIFIED_TIMEZONE, "daylight": 1},
        ),
    ],
)
def test_a_clock_s_setting_is_told(setting: ClockSetting, lines: list[str], value: Json) -> None:
    store = MemoryStore()
    keep_clock_setting(store, setting)
    found = [meaning_of(one) for one in store]
    assert [one.line for one in found if one] == lines
    assert found[0] is not None
    assert found[0].value == value


def test_the_monotonic_counter_is_told() -> None:
    store = MemoryStore()
    assert next_high_count(store) == 1
    (found,) = store
    meaning = meaning_of(found)
    assert meaning is not None
    assert (meaning.line, meaning.value) == ("counts up to 0x200000000 are used up", 1)


@pytest.mark.parametrize(
    ("name", "vendor"),
    [(MTC, EDK2_MONOTONIC_COUNTER), (RTC, EDK2_REAL_TIME_CLOCK), (CLOCK_OFFSET, PVEFI_VARIABLE)],
)
def test_of_another_size_they_have_no_meaning(name: str, vendor: Guid) -> None:
    assert meaning_of(Variable(name, vendor, VariableAttribute(7), b"12345")) is None


def test_who_made_private_variables_is_told_by_name() -> None:
    creators = {("Mine", PVEFI_VARIABLE): b"\xab" * 32}
    found = meaning_of(Variable("certdb", EDK2_CERT_DB, VariableAttribute(0x27), pack_creators(creators)))
    assert found is not None
    assert (found.line, found.more) == ("who made 1 variable", (f"Mine, PVEFI_VARIABLE: {'ab' * 32}",))
    assert found.value == [{"name": "Mine", "vendor": str(PVEFI_VARIABLE), "signer": "ab" * 32}]
    assert meaning_of(Variable("certdb", EDK2_CERT_DB, VariableAttribute(0x27), b"12345")) is None


@pytest.mark.parametrize(
    ("data", "line"),
    [(b"\1", "audit mode"), (b"\2", "deployed mode"), (b"\3", "to audit mode"), (b"\4", None)],
)
def test_the_mode_of_secure_boot_is_told(data: bytes, line: str | None) -> None:
    found = meaning_of(Variable("SecureBootMode", PVEFI_VARIABLE, VariableAttribute(0x23), data))
    assert (found.line if found else None) == line


KEYS = struct.pack("<IIH", 2 << 30 | 1 << 9 | 1 << 8, 0xDEADBEEF, 0x1F)


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (KEYS + struct.pack("<HHHH", 0x16, 0, 0, ord("a")), "Boot001F on Shift+Control+F12+a"),
        (KEYS + struct.pack("<HHHH", 0x99, 0, 0, 13), "Boot001F on Shift+Control+scan code 0x99+U+000D"),
        (struct.pack("<IIH", 0, 0, 1), "Boot0001 on no key"),
        (KEYS, None),
        (KEYS[:9], None),
        (KEYS + bytes(12), None),
    ],
)
def test_a_hot_key_is_told(data: bytes, line: str | None) -> None:
    found = meaning_of(Variable("Key0000", GLOBAL_VARIABLE, VariableAttribute(7), data))
    assert (found.line if found else None) == line


def test_what_memory_edk2_sets_aside_is_told() -> None:
    data = struct.pack("<8I", 9, 0x20, 6, 0x100, 0x70000001, 1, 16, 0)
    name, vendor = MEMORY_TYPE_INFORMATION, EDK2_MEMORY_TYPE_INFORMATION
    found = meaning_of(Variable(name, vendor, VariableAttribute(7), data))
    assert found is not None
    assert found.line == "1.1 MiB set aside for 3 memory types"
    assert found.more == (
        "EfiACPIReclaimMemory: 128 KiB",
        "EfiRuntimeServicesData: 1 MiB",
        "0x70000001: 4 KiB",
    )
    assert found.value == [
        {"type": 9, "pages": 0x20},
        {"type": 6, "pages": 0x100},
        {"type": 0x70000001, "pages": 1},
    ]
    assert meaning_of(Variable(name, vendor, VariableAttribute(7), data[:-3])) is None


@pytest.mark.parametrize(
    "name", ["Boot0000", "Key0000", "ConOut", "db", MEMORY_TYPE_INFORMATION, "BootOrder"]
)
@given(data=st.binary(max_size=120))
def test_any_data_of_any_variable_has_a_meaning_or_none(name: str, data: bytes) -> None:
    for vendor in (GLOBAL_VARIABLE, EDK2_MEMORY_TYPE_INFORMATION):
        meaning_of(Variable(name, vendor, VariableAttribute(7), data))
