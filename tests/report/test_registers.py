# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

from pvefi.report.registers import register_lines, registers_to_json

REGISTERS = {"rax": 1, "rip": 0xFFFFFFFF81000000, "cr0": 0x80000011, "cr4": 0x20, "efer": 0x500, "rflags": 2}


def test_registers_stand_in_columns_and_bits_by_name() -> None:
    lines = [line.plain for line in register_lines(REGISTERS)]
    assert lines == [
        "  rax  0000000000000001  rip  ffffffff81000000",
        "  rflags  0000000000000002",
        "  cr0     0000000080000011  PE ET PG",
        "  cr4     0000000000000020  PAE",
        "  efer    0000000000000500  LME LMA",
    ]


def test_a_machine_that_tells_few_registers_is_no_trouble() -> None:
    assert [line.plain for line in register_lines({"rip": 5})] == ["  rip  0000000000000005"]
    assert register_lines({}) == []


def test_json_has_them_as_numbers() -> None:
    assert registers_to_json(REGISTERS)["rip"] == 0xFFFFFFFF81000000
