# SPDX-License-Identifier: GPL-2.0-or-later
"""What the trampoline's exception gate leaves on the stack becomes a Fault."""

from __future__ import annotations

from pvefi.guest.mailbox import Function, Request
from pvefi.machines import Fault
from pvefi.machines.faults import ExceptionFrame, exception_name, fault_of
from pvefi.memory import GuestMemory, RamBlock


def told(frame: ExceptionFrame, at: int = 0x100, rcx: int = 0x100) -> Fault:
    memory = GuestMemory([RamBlock(0, memoryview(bytearray(0x200)))])
    memory.write(at, frame.pack())
    return fault_of(memory, Request(2, Function.EXCEPTION, rcx, 0, 0, 0, 0, 0, 0, 0))


def frame(vector: int) -> ExceptionFrame:
    return ExceptionFrame(
        cr2=0xDEAD000, vector=vector, error_code=2, rip=0x401000, cs=0x38, rflags=2, rsp=0x8000, ss=0x30
    )


def test_a_page_fault_has_the_address_that_was_touched() -> None:
    assert told(frame(14)) == Fault("page fault", 14, 0xDEAD000, 0x401000)


def test_other_exceptions_have_none() -> None:
    assert told(frame(6)) == Fault("invalid opcode", 6, None, 0x401000)


def test_a_frame_that_cannot_be_read_is_a_fault_all_the_same() -> None:
    assert told(frame(14), rcx=1 << 60) == Fault("exception without a readable frame", None, None, 1 << 60)
    assert told(frame(14), rcx=0x1F0).vector is None


def test_a_vector_without_a_name_is_told_by_its_number() -> None:
    assert exception_name(0x80) == "interrupt 0x80"
    assert exception_name(15) == "interrupt 0xf"
