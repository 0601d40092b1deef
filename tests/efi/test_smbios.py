# SPDX-License-Identifier: GPL-2.0-or-later
"""SMBIOS tables below 1 MiB become configuration tables, when they are whole."""

from __future__ import annotations

import mmap

import pytest

from pvefi.efi.smbios import entry_points
from pvefi.layout import Guid
from pvefi.memory import GuestMemory, RamBlock
from pvefi.spec.smbios import EntryPoint32, EntryPoint64
from pvefi.spec.uefi.guids import SMBIOS3_TABLE, SMBIOS_TABLE
from tests.efi.boot.guest import FakeGuest

SIZE = 2 << 20
TABLE = 0xF2000


def checked(data: bytes, at: int, covered: slice) -> bytes:
    """Return `data` with the byte `at` such that those `covered` sum to zero."""
    made = bytearray(data)
    made[at] = 0
    made[at] = -sum(made[covered]) & 0xFF
    return bytes(made)


def entry32(
    *, anchor: bytes = b"_SM_", length: int = 31, middle: bytes = b"_DMI_", table: int = TABLE, size: int = 64
) -> bytes:
    made = EntryPoint32(anchor, 0, length, 2, 8, 0x40, 0, bytes(5), middle, 0, size, table, 3, 0x28).pack()
    made = checked(made, 0x15, slice(0x10, 0x1F))
    return checked(made, 4, slice(0, length))


def entry64(*, anchor: bytes = b"_SM3_", length: int = 24, table: int = TABLE, size: int = 0x1000) -> bytes:
    made = EntryPoint64(anchor, 0, length, 3, 0, 0, 1, 0, size, table).pack()
    return checked(made, 5, slice(0, length))


def found(**places: bytes) -> tuple[tuple[Guid, int], ...]:
    """Return what is found with data at places named like `at_f0000`."""
    memory = GuestMemory([RamBlock(0, memoryview(mmap.mmap(-1, SIZE)))])
    for place, data in places.items():
        memory.write(int(place.removeprefix("at_"), 16), data)
    return entry_points(memory)


def test_entry_points_are_found_where_a_bios_puts_them() -> None:
    assert found(at_f5a20=entry32()) == ((SMBIOS_TABLE, 0xF5A20),)
    assert found(at_fffe0=entry64()) == ((SMBIOS3_TABLE, 0xFFFE0),)
    both = found(at_f0000=entry32(), at_f0020=entry64(table=0x110000))
    assert both == ((SMBIOS3_TABLE, 0xF0020), (SMBIOS_TABLE, 0xF0000))


def test_the_first_of_several_counts() -> None:
    assert found(at_f0040=entry32(), at_f8000=entry32()) == ((SMBIOS_TABLE, 0xF0040),)


def test_the_length_of_version_2_1_is_met_in_the_wild() -> None:
    assert found(at_f0000=entry32(length=30)) == ((SMBIOS_TABLE, 0xF0000),)


@pytest.mark.parametrize(
    "wrong",
    [
        entry32()[:5] + b"\0" + entry32()[6:],
        entry32(length=32),
        entry32(length=0),
        entry32(middle=b"_DMX_"),
        entry32(table=SIZE),
        entry32(table=SIZE - 8),
        entry32(size=0),
        checked(entry32()[:0x15] + b"\1" + entry32()[0x16:], 4, slice(0, 31)),
        entry64()[:6] + b"\x19" + entry64()[7:],
        entry64(length=23),
        entry64(table=1 << 40),
        entry64(table=(1 << 64) - 16),
        entry64(size=0xFFFFFFFF),
        entry64(anchor=b"_SM4_"),
        bytes(32),
    ],
)
def test_what_is_no_entry_point_is_left_alone(wrong: bytes) -> None:
    assert found(at_f0100=wrong) == ()


def test_nothing_is_found_off_the_paragraphs_or_outside_the_range() -> None:
    assert found(at_f0008=entry32(), at_e0000=entry64(), at_100000=entry32()) == ()


def test_an_entry_point_that_the_range_cuts_off_is_none() -> None:
    assert found(at_ffff0=entry32()) == ()


def test_a_machine_whose_bios_is_no_ram_has_none() -> None:
    low, high = memoryview(mmap.mmap(-1, 0xA0000)), memoryview(mmap.mmap(-1, SIZE))
    assert entry_points(GuestMemory([RamBlock(0, low), RamBlock(1 << 20, high)])) == ()


def test_an_environment_enters_them_among_its_tables() -> None:
    guest = FakeGuest()
    guest.memory.write(0xF0000, entry32(table=0x110000))
    guest.reset()
    assert dict(guest.efi.tables.configuration_tables)[SMBIOS_TABLE] == 0xF0000
