# SPDX-License-Identifier: GPL-2.0-or-later
"""The 64-bit entry of a bzImage, 0x200 bytes after the start of the loaded kernel.

State demanded, Linux boot.rst "64-bit Boot Protocol": long mode; kernel, zero page and command line mapped
one to one; a GDT with __BOOT_CS (0x10) and __BOOT_DS (0x18), flat; cs = __BOOT_CS, ds, es and ss =
__BOOT_DS; interrupts off; rsi = boot_params.
"""

from __future__ import annotations

import struct

from pvefi.efi.environment import Environment
from pvefi.efi.service import Steps
from pvefi.entries.enter import BOOT_CS, BOOT_DS, CODE64, DATA, enter_image
from pvefi.entries.entry import BootInfo, Entry, EntryRequest
from pvefi.entries.linux_boot import LoadedKernel, check, load_kernel, wanted_memory, zero_page
from pvefi.guest.entry_state import EntryState
from pvefi.image import EntryKind
from pvefi.spec.linux.setup_header import LINUX64_OFFSET
from pvefi.verdict import Verdict

__all__ = ["ENTRY", "start"]

_GDT = struct.pack("<4Q", 0, 0, CODE64, DATA)


def _enter(efi: Environment, request: EntryRequest, information: int) -> Steps[Verdict]:
    """Load the kernel and jump to its startup_64."""
    kernel = load_kernel(efi, request)
    return start(efi, kernel, zero_page(efi, kernel, request, information))


def start(efi: Environment, kernel: LoadedKernel, params: int) -> Steps[Verdict]:
    """Jump to the kernel's startup_64 with `params`, the address of boot_params."""
    _map_page_0(efi)
    gdt = efi.boot_arena.place("GDT", _GDT)
    state = EntryState(
        rsi=params,
        rsp=efi.trampoline.symbols["stack_top"],
        rip=kernel.address + LINUX64_OFFSET,
        code_selector=BOOT_CS,
        data_selector=BOOT_DS,
        bits=64,
        gdt_limit=len(_GDT) - 1,
        gdt_base=gdt,
    )
    return enter_image(efi, state, kernel.address)


def _map_page_0(efi: Environment) -> None:
    """Map the page that the trampoline keeps absent: the decompressor reads the BIOS data area in it.

    arch/x86/boot/compressed/pgtable_64.c, find_trampoline_placement, on the loader's page tables.
    """
    efi.physical.write(efi.trampoline.symbols["first_page_table"], struct.pack("<Q", 3))


ENTRY = Entry(EntryKind.LINUX64, 64, _enter, wanted_memory, (BootInfo.NONE, BootInfo.SETUP_DATA), check)
