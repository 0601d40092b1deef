# SPDX-License-Identifier: GPL-2.0-or-later
"""The 32-bit entry of a bzImage, the first byte of the loaded kernel.

State demanded, Linux boot.rst "32-bit Boot Protocol": protected mode, paging off; a GDT with __BOOT_CS (0x10)
and __BOOT_DS (0x18), flat; cs = __BOOT_CS, ds, es and ss = __BOOT_DS; interrupts off; esi = boot_params;
ebp, edi and ebx 0.
"""

from __future__ import annotations

import struct

from pvefi.efi.environment import Environment
from pvefi.efi.service import Steps
from pvefi.entries.enter import BOOT_CS, BOOT_DS, CODE32, DATA, enter_image
from pvefi.entries.entry import BootInfo, Entry, EntryRequest
from pvefi.entries.linux_boot import check, load_kernel, wanted_memory, zero_page
from pvefi.guest.entry_state import EntryState
from pvefi.image import EntryKind
from pvefi.verdict import Verdict

__all__ = ["ENTRY"]

_GDT = struct.pack("<4Q", 0, 0, CODE32, DATA)


def _enter(efi: Environment, request: EntryRequest, information: int) -> Steps[Verdict]:
    """Load the kernel, leave long mode, and jump to its startup_32."""
    kernel = load_kernel(efi, request)
    params = zero_page(efi, kernel, request, information)
    gdt = efi.boot_arena.place("GDT", _GDT)
    state = EntryState(
        rsi=params,
        rsp=efi.trampoline.symbols["stack_top"],
        rip=kernel.address,
        code_selector=BOOT_CS,
        data_selector=BOOT_DS,
        bits=32,
        gdt_limit=len(_GDT) - 1,
        gdt_base=gdt,
    )
    return enter_image(efi, state, kernel.address)


ENTRY = Entry(EntryKind.LINUX32, 32, _enter, wanted_memory, (BootInfo.NONE, BootInfo.SETUP_DATA), check)
