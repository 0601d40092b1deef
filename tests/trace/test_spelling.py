# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import importlib
import pkgutil
from enum import IntEnum, IntFlag

import pytest
from hypothesis import given

import pvefi.spec.uefi
from pvefi.layout import OpenEnum
from pvefi.spec.uefi.guids import TCG2_PROTOCOL
from pvefi.spec.uefi.memory import AllocateType, MemoryAttribute, MemoryType
from pvefi.spec.uefi.status import EfiStatus
from pvefi.trace.events import Address, Value
from pvefi.trace.spelling import Named, member_name, spell
from tests.trace.made import values

WB, RUNTIME = MemoryAttribute.WB, MemoryAttribute.RUNTIME


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, "NULL"),
        (True, "TRUE"),
        (4, "4"),
        (0xFFFFFFFF, "4294967295"),
        (1 << 32, "0x100000000"),
        (Address(0x3E7F000), "0x3e7f000"),
        (Address(0), "0x0"),
        ("linux", '"linux"'),
        ('a "b" \\', r'"a \"b\" \\"'),
        ("\x1b[31m\r\n\u202e\ud800", r'"\x1b[31m\r\n\u202e\ud800"'),
        ("é—│", '"é—│"'),
        (b"\x00\xff", "<00ff>"),
        (TCG2_PROTOCOL, "TCG2_PROTOCOL"),
        (MemoryType.LOADER_DATA, "EfiLoaderData"),
        (MemoryType.ACPI_NVS, "EfiACPIMemoryNVS"),
        (MemoryType(0x80000001), "0x80000001"),
        (AllocateType.ANY_PAGES, "AllocateAnyPages"),
        (AllocateType(7), "0x7"),
        (EfiStatus.NOT_FOUND, "EFI_NOT_FOUND"),
        (WB | RUNTIME, "EFI_MEMORY_WB|EFI_MEMORY_RUNTIME"),
        (WB | MemoryAttribute(1 << 40), "EFI_MEMORY_WB|0x10000000000"),
        (MemoryAttribute(0), "0x0"),
        (Named(2, "MemoryType", "EfiLoaderData"), "EfiLoaderData"),
        (Named(0x80000001, "MemoryType", ""), "0x80000001"),
    ],
)
def test_a_value_is_written_as_its_specification_does(value: Value, written: str) -> None:
    assert spell(value) == written


def test_a_long_text_is_cut_and_says_so() -> None:
    assert spell("abcdef", 3) == '"abc"...'
    assert spell(b"abcdef", 3) == "<616263>..."


@given(values)
def test_nothing_that_a_guest_says_can_steer_a_terminal(value: Value) -> None:
    assert spell(value).isprintable()


def uefi_enumerations() -> list[type[IntEnum | IntFlag]]:
    found = []
    for module in pkgutil.iter_modules(pvefi.spec.uefi.__path__):
        if module.name == "device_path":  # its nodes are printed as text (UEFI 2.10 §10.6)
            continue
        for item in vars(importlib.import_module(f"pvefi.spec.uefi.{module.name}")).values():
            if isinstance(item, type) and issubclass(item, (IntEnum, IntFlag)) and item is not OpenEnum:
                found.append(item)
    return found


@pytest.mark.parametrize("enumeration", uefi_enumerations())
def test_every_enumeration_of_the_specification_is_spelled_as_there(
    enumeration: type[IntEnum | IntFlag],
) -> None:
    for member in enumeration:
        assert member_name(member) != member.name, f"{enumeration.__name__} needs a line in the table"
