# SPDX-License-Identifier: GPL-2.0-or-later
"""Parts of programs that end boot services, map all memory a second time, and tell runtime services."""

from __future__ import annotations

from pvefi.guest import load_trampoline
from pvefi.spec.uefi.memory import PAGE_SIZE, MemoryAttribute, MemoryDescriptor, MemoryType
from pvefi.spec.uefi.tables import BOOT_SERVICES_SLOTS, RUNTIME_SERVICES_SLOTS, TableHeader

ALIAS = 0xFFFF_FF80_0000_0000
"""Where a program sees all memory a second time: the last entry of its highest page table."""
_TABLES = 0x30_0000

BEGIN = """
        .macro  service table, slot
        movq    \\table(%rbx, %rdi), %rax
        callq   *\\slot(%rax)
        .endm

        subq    $0x48, %rsp
        movq    %rdx, %rbx
        movq    %rcx, %rsi
        xorl    %edi, %edi
"""
"""%rbx = the system table, %rsi = the image's handle, %rdi = ALIAS once the page tables know of it."""

END_BOOT_SERVICES = """
        leaq    size(%rip), %rcx        # the key is told even where the map does not fit
        xorl    %edx, %edx
        leaq    key(%rip), %r8
        xorl    %r9d, %r9d
        movq    $0, 0x20(%rsp)
        service 0x60, get_memory_map
        movq    %rsi, %rcx
        movq    key(%rip), %rdx
        service 0x60, exit_boot_services
"""

MAP_ANEW = """
        movq    %cr3, %rsi              # a copy of the highest table, with all memory at ALIAS too
        movl    $tables, %edi
        movl    $512, %ecx
        cld
        rep movsq
        movq    tables, %rax
        movq    %rax, tables + 511 * 8
        movl    $tables, %eax
        movq    %rax, %cr3
        xorl    %edi, %edi
        movl    $map_end - map, %ecx
        movl    $descriptor_size, %edx
        movl    $1, %r8d
        leaq    map(%rip), %r9
        service 0x58, set_virtual_address_map
        movq    $alias, %rdi            # the table's pointer to runtime services is virtual from here on
"""

_WORDS = """
        .balign 8
size:   .quad   0
key:    .quad   0
"""


def bytes_at(label: str, value: bytes) -> str:
    """Return source text for bytes between `label` and `label`_end."""
    return f"{label}: .byte {', '.join(map(str, value))}\n{label}_end:\n"


def data() -> str:
    """Return the data that END_BOOT_SERVICES and MAP_ANEW need behind the program."""
    trampoline = load_trampoline()
    descriptors = b"".join(
        MemoryDescriptor(
            MemoryType.RUNTIME_SERVICES_DATA,
            0,
            part.address,
            ALIAS + part.address,
            -(-part.size // PAGE_SIZE),
            MemoryAttribute.RUNTIME,
        ).pack()
        for part in map(trampoline.segment, (".gates", ".mailbox"))
    )
    return _WORDS + bytes_at("map", descriptors)


def symbols() -> dict[str, int]:
    """Return the symbols of the parts, and the offsets of services that programs call besides."""

    def slot(slots: tuple[str, ...], name: str) -> int:
        return TableHeader.SIZE + 8 * slots.index(name)

    return {
        "alias": ALIAS,
        "tables": _TABLES,
        "descriptor_size": MemoryDescriptor.SIZE,
        "get_memory_map": slot(BOOT_SERVICES_SLOTS, "GetMemoryMap"),
        "exit_boot_services": slot(BOOT_SERVICES_SLOTS, "ExitBootServices"),
        "set_virtual_address_map": slot(RUNTIME_SERVICES_SLOTS, "SetVirtualAddressMap"),
        "get_variable": slot(RUNTIME_SERVICES_SLOTS, "GetVariable"),
        "reset_system": slot(RUNTIME_SERVICES_SLOTS, "ResetSystem"),
    }
