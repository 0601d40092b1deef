# SPDX-License-Identifier: GPL-2.0-or-later
"""The list of variables and a variable's page keep to the width of a terminal."""

from __future__ import annotations

import pytest

from pvefi.efi.varstore.store import Capacity, Variable
from pvefi.layout import Guid
from pvefi.report.variables import listing_lines, variable_lines
from pvefi.spec.uefi.guids import EDK2_MEMORY_TYPE_INFORMATION, GLOBAL_VARIABLE
from pvefi.spec.uefi.variables import VariableAttribute

OTHER = Guid.parse("11111111-2222-3333-4444-555555555555")
USUAL = VariableAttribute(7)
CAPACITY = Capacity(1000, 600, 60, 900, 900)
LONG = Variable("N" * 40_000, OTHER, USUAL, b"\1")
WORDS = Variable("Words", GLOBAL_VARIABLE, USUAL, ("some words " * 20 + "end").encode())
TYPES = Variable("MemoryTypeInformation", EDK2_MEMORY_TYPE_INFORMATION, USUAL, bytes(8))


def listed(*variables: Variable, width: int | None = None) -> list[str]:
    return [line.plain for line in listing_lines(variables, CAPACITY, width)][: len(variables) + 1]


def test_a_long_name_widens_no_other_line() -> None:
    head, long, words = listed(LONG, WORDS)
    assert long.startswith("N" * 39 + "…  ")
    assert str(OTHER) in long
    assert words.startswith(f"Words{' ' * 35}  GLOBAL_VARIABLE")
    assert head.startswith("name")
    assert words.endswith('words end"')


@pytest.mark.parametrize("width", [60, 80, 100, 132, 200])
def test_within_a_width_each_variable_keeps_to_one_line_with_name_and_vendor(width: int) -> None:
    lines = listed(LONG, WORDS, Variable("Boot", OTHER, USUAL, bytes(100)), TYPES, width=width)
    assert all(len(line) <= width for line in lines)
    assert [line.split()[0] for line in lines[2:4]] == ["Words", "Boot"]
    assert "EDK2_MEMORY_TYPE_INFORM" in lines[4]
    assert lines[0].split()[:2] == ["name", "vendor"]
    assert "GLOBAL_VARIABLE" in lines[2]
    assert "11111111" in lines[3]
    assert lines[2].endswith("…")
    assert ("attributes" in lines[0]) == (width > 100)


def test_a_guid_is_whole_where_it_fits() -> None:
    short = Variable("Test", OTHER, USUAL, b"\1")
    assert str(OTHER) in listed(short, width=80)[1]
    assert "11111111…" in listed(short, width=45)[1]


@pytest.mark.parametrize(
    ("width", "row"), [(None, 16), (80, 16), (73, 16), (72, 8), (41, 8), (40, 4), (20, 4)]
)
def test_a_dump_s_rows_are_as_long_as_fits(width: int | None, row: int) -> None:
    lines = [line.plain for line in variable_lines(Variable("Test", OTHER, USUAL, bytes(100)), width)]
    dump = lines[lines.index("bytes") + 1 :]
    assert len(dump) == -(-100 // row)
    assert dump[1].split()[0] == f"{row:04x}"


def test_one_byte_is_no_bytes() -> None:
    lines = [line.plain.split() for line in variable_lines(Variable("Test", OTHER, USUAL, b"\1"), None)]
    assert ["size", "1", "byte"] in lines
