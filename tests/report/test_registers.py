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


def test_segments_stand_in_one_line() -> None:
    lines = register_lines({"rip": 5, "cs": 0x38, "ds": 0x30, "es": 0x30, "fs": 0, "gs": 0, "ss": 0x30})
    assert lines[1].plain == "  cs   0038  ds   0030  es   0030  fs   0000  gs   0000  ss   0030"


def test_a_machine_that_tells_few_registers_is_no_trouble() -> None:
    assert [line.plain for line in register_lines({"rip": 5})] == ["  rip  0000000000000005"]
    assert register_lines({}) == []


def test_json_has_them_as_numbers() -> None:
    assert registers_to_json(REGISTERS)["rip"] == 0xFFFFFFFF81000000
