# SPDX-License-Identifier: GPL-2.0-or-later
"""Delivers CPU exceptions to the guest's own handlers, which unicorn leaves to its user.

unicorn calls a hook and then forgets the exception, but not quite: the field `old_exception` of its CPU state
stays set, and would make the next page fault a double fault. Neither that field nor the error code has a
register number, so both are found in the bytes of a saved context, by provoking a fault in a scratch CPU.
"""

from __future__ import annotations

import ctypes
import struct
from dataclasses import dataclass

from unicorn import unicorn_const as const
from unicorn import x86_const
from unicorn.unicorn_py3.unicorn import Uc, UcContext

from pvefi.errors import GuestFault
from pvefi.memory import GuestMemory, VirtualMemory

__all__ = ["PAGE_FAULT", "ExceptionFields", "PendingException", "deliver", "find_fields"]

PAGE_FAULT = 14
_NONE = -1  # old_exception's value when nothing is being delivered
_PUSHES_ERROR_CODE = frozenset({8, 10, 11, 12, 13, 14, 17, 21})  # Intel SDM vol. 3A §6.3.1

# Intel SDM vol. 3A §6.14: interrupt gates in 64-bit mode.
_GATE_SIZE = 16
_PRESENT = 0x80
_INTERRUPT_GATE, _TRAP_GATE = 0xE, 0xF
_TSS_FIRST_IST = 0x24
_IF, _TF, _NT, _RF = 0x200, 0x100, 0x4000, 0x10000
_EFER_LMA = 0x400


@dataclass(frozen=True)
class ExceptionFields:
    """Offsets in a saved context's bytes of two fields without a register number; 32 bits each."""

    old_exception: int
    error_code: int

    def read_error_code(self, context: UcContext) -> int:
        """Return the error code of the exception whose hook is running."""
        return int.from_bytes(context_bytes(context)[self.error_code :][:4], "little")

    def forget(self, uc: Uc) -> None:
        """Let the next exception be a first one; the CPU must be stopped."""
        context = uc.context_save()
        address = ctypes.cast(context.context, ctypes.c_void_p).value
        assert address is not None
        ctypes.c_int32.from_address(address + self.old_exception).value = _NONE
        uc.context_restore(context)


@dataclass(frozen=True)
class PendingException:
    """An exception on its way to the guest's handler."""

    vector: int
    error_code: int


def context_bytes(context: UcContext) -> bytes:
    """Return a saved context as it lies in memory."""
    return ctypes.string_at(context.context, context.size)


def find_fields() -> ExceptionFields | None:
    """Return where the two fields are in this release of unicorn; None when that cannot be told."""
    store, load = b"\x48\x89\x00", b"\x48\x8b\x18"  # mov %rax, (%rax); mov (%rax), %rbx
    before, stored = _fault(store)
    _, loaded = _fault(load)
    words = range(0, len(before) - 3, 4)

    def word(data: bytes, at: int) -> int:
        return int.from_bytes(data[at : at + 4], "little", signed=True)

    old = [at for at in words if (word(before, at), word(stored, at), word(loaded, at)) == (_NONE, 14, 14)]
    # A page fault's error code has bit 1 set for a write and is 0 for a read of an absent page.
    code = [at for at in words if (word(before, at), word(stored, at), word(loaded, at)) == (0, 2, 0)]
    return ExceptionFields(old[0], code[0]) if len(old) == len(code) == 1 else None


def _fault(code: bytes) -> tuple[bytes, bytes]:
    """Run `code`, which touches an absent page, and return the context before and in the hook."""
    uc = Uc(const.UC_ARCH_X86, const.UC_MODE_64)
    uc.ctl_set_cpu_model(x86_const.UC_CPU_X86_QEMU64)
    uc.mem_map(0, 1 << 20)
    for table, entry in ((0x1000, 0x2003), (0x2000, 0x3003), (0x3000, 0x83)):  # the first 2 MiB
        uc.mem_write(table, struct.pack("<Q", entry))
    uc.reg_write(x86_const.UC_X86_REG_CR3, 0x1000)
    uc.reg_write(x86_const.UC_X86_REG_CR4, 0x20)
    uc.reg_write(x86_const.UC_X86_REG_CR0, 0x80000011)
    uc.mem_write(0x8000, code)
    uc.reg_write(x86_const.UC_X86_REG_RAX, 1 << 30)
    seen: list[bytes] = []

    def interrupt(cpu: Uc, _vector: int, _data: object) -> None:
        seen.append(context_bytes(cpu.context_save()))
        cpu.emu_stop()

    uc.hook_add(const.UC_HOOK_INTR, interrupt)
    before = context_bytes(uc.context_save())
    uc.emu_start(0x8000, 1 << 63)
    return before, seen[0]


def deliver(uc: Uc, physical: GuestMemory, exception: PendingException) -> bool:
    """Enter the guest's handler as a CPU in 64-bit mode does; False when the guest has none.

    Intel SDM vol. 3A §6.14. GuestFault when the handler's stack is no memory.
    """
    read, write = uc.reg_read, uc.reg_write
    if not read(x86_const.UC_X86_REG_MSR, 0xC0000080) & _EFER_LMA:
        return False
    cr3, cr4 = read(x86_const.UC_X86_REG_CR3), read(x86_const.UC_X86_REG_CR4)
    memory = VirtualMemory(physical, cr3, cr4)
    _, table, limit, _ = read(x86_const.UC_X86_REG_IDTR)
    at = exception.vector * _GATE_SIZE
    if at + _GATE_SIZE - 1 > limit:
        return False
    try:
        low, selector, stack, kind, middle, high, _ = struct.unpack("<HHBBHII", memory.read(table + at, 16))
    except GuestFault:
        return False
    if not kind & _PRESENT or kind & 0xF not in (_INTERRUPT_GATE, _TRAP_GATE):
        return False
    old_stack, flags = read(x86_const.UC_X86_REG_RSP), read(x86_const.UC_X86_REG_EFLAGS)
    top = old_stack
    if stack & 7:
        _, tss, _, _ = read(x86_const.UC_X86_REG_TR)
        top = int.from_bytes(memory.read(tss + _TSS_FIRST_IST + 8 * ((stack & 7) - 1), 8), "little")
    frame = [
        read(x86_const.UC_X86_REG_RIP),
        read(x86_const.UC_X86_REG_CS),
        flags,
        old_stack,
        read(x86_const.UC_X86_REG_SS),
    ]
    if exception.vector in _PUSHES_ERROR_CODE:
        frame.insert(0, exception.error_code)
    top = (top & ~0xF) - 8 * len(frame)
    memory.write(top, struct.pack(f"<{len(frame)}Q", *frame))
    write(x86_const.UC_X86_REG_RSP, top)
    cleared = _TF | _NT | _RF | (_IF if kind & 0xF == _INTERRUPT_GATE else 0)
    write(x86_const.UC_X86_REG_EFLAGS, flags & ~cleared)
    if selector != frame[-4]:
        write(x86_const.UC_X86_REG_CS, selector)
    write(x86_const.UC_X86_REG_RIP, low | middle << 16 | high << 32)
    return True
