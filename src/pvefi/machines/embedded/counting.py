# SPDX-License-Identifier: GPL-2.0-or-later
"""Counts a guest's instructions exactly, by a native callback of four bytes."""

from __future__ import annotations

import ctypes
import mmap
import platform

from pvefi.errors import MachineError

__all__ = ["InstructionCounter"]

# uc_cb_hookcode_t(uc, address, size, user_data): user_data comes in %rcx by the System V convention.
_INCREMENT = bytes.fromhex("48ff01c3")  # incq (%rcx); ret


class InstructionCounter:
    """A counter in host memory and the machine code that counts it up once an instruction.

    MachineError where the host is no x86-64, or refuses executable memory.
    """

    def __init__(self) -> None:
        if platform.machine() not in ("x86_64", "AMD64"):
            raise MachineError(
                f"--count expects an x86-64 host, found {platform.machine()}", "leave --count out"
            )
        try:
            self._page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        except OSError as error:
            raise MachineError(
                f"--count expects executable memory, the host refuses it: {error.strerror}",
                "leave --count out",
            ) from error
        self._page[: len(_INCREMENT)] = _INCREMENT
        self.callback = ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(self._page)))
        self._count = ctypes.c_uint64(0)
        self.user_data = ctypes.c_void_p(ctypes.addressof(self._count))

    @property
    def value(self) -> int:
        """Instructions executed so far."""
        return self._count.value
