# SPDX-License-Identifier: GPL-2.0-or-later
"""The CPU state in which an image is entered that is not called like a function: pvefi's own structure.

`trampoline.S` has its other half, the STATE_ symbols and the routine `enter`.
"""

from __future__ import annotations

from pvefi.layout import U16, U32, U64, Structure, layout

__all__ = ["EntryState"]


@layout(size=0xB0)
class EntryState(Structure):
    """Registers by name; segments are selectors in the GDT at `gdt_base` (guest physical).

    `bits` is 64 for long mode with the trampoline's page tables, 32 for protected mode without paging.
    The selector `tss` is loaded where it is not 0, for 32 bits only. Interrupts and the direction flag are
    off.
    """

    rax: U64 = 0
    rbx: U64 = 0
    rcx: U64 = 0
    rdx: U64 = 0
    rsi: U64 = 0
    rdi: U64 = 0
    rbp: U64 = 0
    rsp: U64 = 0
    r8: U64 = 0
    r9: U64 = 0
    r10: U64 = 0
    r11: U64 = 0
    r12: U64 = 0
    r13: U64 = 0
    r14: U64 = 0
    r15: U64 = 0
    rip: U64 = 0
    code_selector: U64 = 0
    data_selector: U64 = 0
    bits: U64 = 64
    gdt_limit: U16 = 0
    gdt_base: U64 = 0
    tss: U16 = 0
    reserved: U32 = 0
