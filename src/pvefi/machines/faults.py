# SPDX-License-Identifier: GPL-2.0-or-later
"""What a CPU exception is called, and what the trampoline's exception gate tells of one."""

from __future__ import annotations

from pvefi.errors import GuestFault
from pvefi.guest.mailbox import Request
from pvefi.layout import U64, Structure, layout
from pvefi.machines.stop import Fault
from pvefi.memory import GuestMemory

__all__ = ["INVALID_OPCODE", "PAGE_FAULT", "exception_name", "fault_of"]

PAGE_FAULT = 14
INVALID_OPCODE = 6

_NAMES = {  # Intel SDM vol. 3A §6.3.1
    0: "divide error",
    1: "debug exception",
    3: "breakpoint",
    4: "overflow",
    5: "bound range exceeded",
    6: "invalid opcode",
    7: "device not available",
    8: "double fault",
    10: "invalid TSS",
    11: "segment not present",
    12: "stack fault",
    13: "general protection fault",
    14: "page fault",
    16: "x87 floating-point error",
    17: "alignment check",
    18: "machine check",
    19: "SIMD floating-point exception",
    20: "virtualization exception",
    21: "control protection exception",
}


def exception_name(vector: int) -> str:
    """Return what exception `vector` is called."""
    return _NAMES.get(vector, f"interrupt {vector:#x}")


@layout(size=0x40)
class ExceptionFrame(Structure):
    """What trampoline.S's exception gate leaves on the stack: the CPU's frame, below it CR2 and vector."""

    cr2: U64
    vector: U64
    error_code: U64
    rip: U64
    cs: U64
    rflags: U64
    rsp: U64
    ss: U64


def fault_of(memory: GuestMemory, request: Request) -> Fault:
    """Return the exception that rang FUNCTION_EXCEPTION; its frame is at rcx (guest physical)."""
    try:
        frame = ExceptionFrame.unpack(memory.read(request.rcx, ExceptionFrame.SIZE))
    except GuestFault:
        return Fault("exception without a readable frame", None, None, request.rcx)
    touched = frame.cr2 if frame.vector == PAGE_FAULT else None
    return Fault(exception_name(frame.vector), frame.vector, touched, frame.rip)
