# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import pytest

from pvefi.errors import MachineError
from pvefi.machines.qemu.gdb_registers import Register, registers_in, registers_of

DOCUMENTS = {
    "target.xml": '<?xml version="1.0"?><!DOCTYPE target SYSTEM "gdb-target.dtd"><target>'
    '<xi:include href="core.xml"/><xi:include href="more.xml"/></target>',
    "core.xml": '<feature name="org.gnu.gdb.i386.core"><reg name="rax" bitsize="64" regnum="0"/>'
    '<reg name="rip" bitsize="64"/><reg name="eflags" bitsize="32"/></feature>',
    "more.xml": '<feature><reg name="late" bitsize="16" regnum="7"/><reg name="last" bitsize="8"/></feature>',
}


def test_registers_stand_in_the_order_of_the_documents() -> None:
    assert registers_in(DOCUMENTS.__getitem__) == (
        Register("rax", 0, 8),
        Register("rip", 8, 8),
        Register("rflags", 16, 4),
        Register("late", 20, 2),
        Register("last", 22, 1),
    )


def test_registers_stand_in_the_order_of_their_numbers() -> None:
    text = (
        '<target><reg name="cr0" bitsize="64" regnum="5"/><reg name="rip" bitsize="64" regnum="1"/></target>'
    )
    assert registers_in(lambda _: text) == (Register("rip", 0, 8), Register("cr0", 8, 8))


def test_values_are_little_endian_and_what_is_not_there_is_left_out() -> None:
    layout = registers_in(DOCUMENTS.__getitem__)
    answer = b"0100000000000000" + b"00008000000000ff" + b"xxxxxxxx" + b"0201"
    assert registers_of(layout, answer) == {"rax": 1, "rip": 0xFF00000000800000, "late": 0x102}


@pytest.mark.parametrize(
    "text", ["", "<target>", "<target/>", '<target><reg name="rip" bitsize="big"/></target>']
)
def test_what_is_no_description_of_an_x86_64_cpu_is_a_machine_error(text: str) -> None:
    with pytest.raises(MachineError):
        registers_in(lambda _: text)


def test_documents_that_include_themselves_come_to_an_end() -> None:
    with pytest.raises(MachineError):
        registers_in(lambda _: '<target><xi:include href="target.xml"/></target>')


@pytest.mark.parametrize("answer", [b"", b"E01", b"zz" * 40])
def test_what_is_no_list_of_registers_is_a_machine_error(answer: bytes) -> None:
    with pytest.raises(MachineError):
        registers_of(registers_in(DOCUMENTS.__getitem__), answer)
