# SPDX-License-Identifier: GPL-2.0-or-later
"""The unicorn CPU with typed functions: what else pvefi knows of unicorn is only in this module."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from unicorn import unicorn_const as const
from unicorn import x86_const
from unicorn.unicorn_py3.unicorn import Uc, UcError, uclib

from pvefi.machines.embedded.exceptions import PendingException, deliver, find_fields
from pvefi.memory import GuestMemory

__all__ = ["Engine", "EngineError"]

_GENERAL = [
    "rax",
    "rbx",
    "rcx",
    "rdx",
    "rsi",
    "rdi",
    "rbp",
    "rsp",
    "r8",
    "r9",
    "r10",
    "r11",
    "r12",
    "r13",
    "r14",
    "r15",
    "rip",
]
_CONTROL = ["cr0", "cr2", "cr3", "cr4"]
_SEGMENTS = ["cs", "ds", "es", "ss"]
_IA32_EFER = 0xC0000080
_CR0_PROTECTED_MODE = 0x11  # PE and ET, the state of hvm/start_info.h
_CR0_PAGING = 0x80000000
_NOWHERE = 1 << 63  # no canonical address: emulation never ends by reaching it

# Descriptors for the flat 32-bit segments that the PVH entry demands, in a table of three.
_FLAT_TABLE = struct.pack("<3Q", 0, 0x00CF9B000000FFFF, 0x00CF93000000FFFF)
_FLAT_CODE, _FLAT_DATA = 8, 16
_TABLE_ADDRESS = 0x5000  # guest physical, in conventional memory; the trampoline loads its own table at once

_INSTRUCTION_HOOK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
_SKIP = 1  # what an instruction hook returns so that the instruction itself is not executed
_CODE_HOOK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint32, ctypes.c_void_p)


class EngineError(Exception):
    """unicorn ended a run by itself; `invalid_instruction` tells an undefined opcode from the rest."""

    def __init__(self, error: UcError) -> None:
        super().__init__(str(error))
        self.invalid_instruction = error.errno == const.UC_ERR_INSN_INVALID


class Engine:
    """One x86-64 CPU on `memory`. Hook callbacks run in the thread that calls `run`."""

    def __init__(self, memory: GuestMemory) -> None:
        self._memory = memory
        self._uc = Uc(const.UC_ARCH_X86, const.UC_MODE_64)
        # The default model lacks instructions that kernels of 6.12 use without asking (shlx).
        self._uc.ctl_set_cpu_model(x86_const.UC_CPU_X86_QEMU64)
        for block in memory.blocks:
            host_address = ctypes.addressof(ctypes.c_char.from_buffer(block.view))
            self._uc.mem_map_ptr(block.address, len(block.view), const.UC_PROT_ALL, host_address)
        self._keep: list[object] = []
        self._hooks: list[int] = []
        # In a thread of its own: Ctrl-C must not strike within a hook, which cannot pass it on.
        with ThreadPoolExecutor(1) as elsewhere:
            self._fields = elsewhere.submit(find_fields).result()

    def enter_protected_mode(self, entry: int, start_info: int) -> None:
        """Put the CPU in the PVH entry's state at guest physical `entry`, %ebx = `start_info`."""
        write = self._uc.reg_write
        self._memory.write(_TABLE_ADDRESS, _FLAT_TABLE)
        # unicorn starts in long mode and leaves it only by seeing paging go from on to off.
        write(x86_const.UC_X86_REG_MSR, (_IA32_EFER, 0))
        write(x86_const.UC_X86_REG_CR0, _CR0_PROTECTED_MODE | _CR0_PAGING)
        write(x86_const.UC_X86_REG_CR0, _CR0_PROTECTED_MODE)
        write(x86_const.UC_X86_REG_GDTR, (0, _TABLE_ADDRESS, len(_FLAT_TABLE) - 1, 0))
        write(x86_const.UC_X86_REG_CS, _FLAT_CODE)
        for register in ("DS", "ES", "SS"):
            write(getattr(x86_const, f"UC_X86_REG_{register}"), _FLAT_DATA)
        write(x86_const.UC_X86_REG_RBX, start_info)
        write(x86_const.UC_X86_REG_RIP, entry)

    def registers(self) -> Mapping[str, int]:
        """Return general, control and segment registers, rflags and efer by lower-case name."""
        values = {
            name: self._uc.reg_read(getattr(x86_const, f"UC_X86_REG_{name.upper()}"))
            for name in [*_GENERAL, *_CONTROL, *_SEGMENTS]
        }
        values["rflags"] = self._uc.reg_read(x86_const.UC_X86_REG_EFLAGS)
        values["efer"] = self._uc.reg_read(x86_const.UC_X86_REG_MSR, _IA32_EFER)
        return values

    def register(self, name: str) -> int:
        """Return one register by lower-case name."""
        return int(self._uc.reg_read(getattr(x86_const, f"UC_X86_REG_{name.upper()}")))

    def on_port(self, write: Callable[[int, int, int], None], read: Callable[[int, int], int]) -> None:
        """Call write(port, size, value) at OUT and read(port, size) at IN."""

        def out(_uc: Uc, port: int, size: int, value: int, _data: object) -> None:
            write(port, size, value)

        def inp(_uc: Uc, port: int, size: int, _data: object) -> int:
            return read(port, size)

        self._hook(const.UC_HOOK_INSN, out, instruction=x86_const.UC_X86_INS_OUT)
        self._hook(const.UC_HOOK_INSN, inp, instruction=x86_const.UC_X86_INS_IN)

    def on_time_stamp(self, read: Callable[[], int]) -> None:
        """Let RDTSC return what `read()` does, instead of the host's counter."""

        def time_stamp(_uc: int, _data: int) -> int:
            ticks = read()
            self._uc.reg_write(x86_const.UC_X86_REG_RAX, ticks & 0xFFFFFFFF)
            self._uc.reg_write(x86_const.UC_X86_REG_RDX, ticks >> 32)
            return _SKIP

        hook = _INSTRUCTION_HOOK(time_stamp)
        rdtsc = ctypes.c_int(x86_const.UC_X86_INS_RDTSC)
        self._add_hook(const.UC_HOOK_INSN, ctypes.cast(hook, ctypes.c_void_p), ctypes.c_void_p(), 1, 0, rdtsc)
        self._keep.append(hook)

    def on_exception(self, callback: Callable[[int], None]) -> None:
        """Call callback(vector) when the CPU raises an exception or executes INT."""

        def interrupt(_uc: Uc, vector: int, _data: object) -> None:
            callback(vector)

        self._hook(const.UC_HOOK_INTR, interrupt)

    def on_unmapped(self, callback: Callable[[str, int], None]) -> None:
        """Call callback("read"|"write"|"fetch", address) when the CPU touches what is no memory.

        The hooks cover only what lies outside RAM: one over RAM would make every store slow.
        """
        kinds = {const.UC_MEM_READ_UNMAPPED: "read", const.UC_MEM_WRITE_UNMAPPED: "write"}

        def unmapped(_uc: Uc, access: int, address: int, _size: int, _value: int, _data: object) -> bool:
            callback(kinds.get(access, "fetch"), address)
            return False

        start = 0
        for block in [*self._memory.blocks, None]:
            end = block.address if block else 1 << 64
            if end > start:
                self._hook(const.UC_HOOK_MEM_UNMAPPED, unmapped, start, end - 1)
            start = block.end if block else end

    def on_execution(self, addresses: list[int], callback: Callable[[int], None]) -> None:
        """Call callback(address) when the CPU jumps to any of `addresses`, before it executes anything there.

        Code there must not have been executed before: unicorn looks at hooks when it translates. These are
        hooks of blocks, not of instructions, so that counting instructions need not pass over all of them.
        """

        def reached(_uc: int, address: int, _size: int, _data: int) -> None:
            callback(address)

        hook = _CODE_HOOK(reached)
        for address in addresses:
            self._add_hook(
                const.UC_HOOK_BLOCK, ctypes.cast(hook, ctypes.c_void_p), ctypes.c_void_p(), address, address
            )
        self._keep.append(hook)

    def hook_code(self, function: ctypes.c_void_p, user_data: ctypes.c_void_p, begin: int, end: int) -> None:
        """Have native `function(uc, address, size, user_data)` called before each instruction in a range.

        `begin` > `end` means everywhere. One address costs nothing but the comparison at translation.
        """
        self._add_hook(const.UC_HOOK_CODE, function, user_data, begin, end)

    def _hook(
        self, kind: int, callback: Callable[..., object], begin: int = 1, end: int = 0, instruction: int = 0
    ) -> None:
        self._hooks.append(self._uc.hook_add(kind, callback, None, begin, end, instruction))

    def _add_hook(
        self,
        kind: int,
        function: ctypes.c_void_p,
        user_data: ctypes.c_void_p,
        begin: int,
        end: int,
        *more: ctypes.c_int,
    ) -> None:
        """Add a hook past unicorn's Python layer, which knows neither RDTSC nor user data."""
        handle = ctypes.c_size_t()
        status = uclib.uc_hook_add(
            self._uc._uch,
            ctypes.byref(handle),
            kind,
            function,
            user_data,
            ctypes.c_uint64(begin),
            ctypes.c_uint64(end),
            *more,
        )
        if status != const.UC_ERR_OK:
            raise EngineError(UcError(status))

    def exception(self, vector: int) -> PendingException:
        """Return the exception whose hook is running, with its error code."""
        code = self._fields.read_error_code(self._uc.context_save()) if self._fields else 0
        return PendingException(vector, code)

    def deliver(self, exception: PendingException) -> bool:
        """Enter the guest's handler for `exception`; False when it has none. The CPU must be stopped."""
        return self._fields is not None and deliver(self._uc, self._memory, exception)

    def run(self) -> None:
        """Run from where the CPU stands until `stop`, HLT, or an error; EngineError for the last."""
        if self._fields is not None:
            self._fields.forget(self._uc)  # every stop leaves something behind, hooks of blocks too
        try:
            self._uc.emu_start(self.register("rip"), _NOWHERE)
        except UcError as error:
            raise EngineError(error) from error

    def close(self) -> None:
        """Free the CPU, and all that its hooks hold on to; nothing may be called after that."""
        for hook in self._hooks:  # each holds on to the CPU, and the CPU to each
            self._uc.hook_del(hook)
        self._keep.clear()
        del self._uc

    def stop(self) -> None:
        """End the run: from a hook at a safe place; from another thread only to never go on."""
        self._uc.emu_stop()
