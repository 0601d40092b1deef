# SPDX-License-Identifier: GPL-2.0-or-later
"""Runtime services as an operating system calls them: through page tables of its own, at new addresses."""

from __future__ import annotations

from pathlib import Path

import pytest

from pvefi.guest import load_trampoline
from pvefi.spec.uefi.guids import GLOBAL_VARIABLE
from pvefi.spec.uefi.memory import MemoryAttribute, MemoryDescriptor, MemoryType
from pvefi.spec.uefi.status import EfiStatus
from pvefi.spec.uefi.tables import BOOT_SERVICES_SLOTS, RUNTIME_SERVICES_SLOTS, TableHeader
from pvefi.spec.uefi.variables import VariableAttribute
from pvefi.trace.events import CallEvent
from pvefi.verdict import Outcome
from tests.conftest import Tool
from tests.machines.made import Assembler
from tests.test_boot import Booted, program

ALIAS = 0xFFFF_FF80_0000_0000
"""Where the program sees all memory a second time: the last entry of its highest page table."""
VARIABLE = "OsIndicationsSupported"

# %rbx = the system table, %rsi = the image's handle, %rdi = ALIAS once the page tables know of it
SOURCE = """
        .macro  service table, slot
        movq    \\table(%rbx, %rdi), %rax
        callq   *\\slot(%rax)
        .endm
        .macro  place name, register
        leaq    \\name(%rip), \\register
        addq    %rdi, \\register
        .endm

        subq    $0x48, %rsp
        movq    %rdx, %rbx
        movq    %rcx, %rsi
        xorl    %edi, %edi
        leaq    size(%rip), %rcx        # the key is told even where the map does not fit
        xorl    %edx, %edx
        leaq    key(%rip), %r8
        xorl    %r9d, %r9d
        movq    $0, 0x20(%rsp)
        service 0x60, get_memory_map
        movq    %rsi, %rcx
        movq    key(%rip), %rdx
        service 0x60, exit_boot_services

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
        place   size, %r9
        movq    $8, (%r9)
        place   data, %rax
        movq    %rax, 0x20(%rsp)
        place   attributes, %r8
        place   guid, %rdx
        place   name, %rcx
        service 0x58, get_variable

        movl    $2, %ecx
        movl    attributes(%rip), %edx  # what was stored goes into the verdict: the status
        movl    $words_end - words, %r8d
        place   words, %r9
        service 0x58, reset_system
        hlt
        .balign 8
size:   .quad   0
key:    .quad   0
data:   .quad   -1
attributes:
        .quad   0
"""


def source() -> str:
    """Return the program with its data behind it."""

    def text(label: str, value: str) -> str:
        words = ", ".join(str(ord(letter)) for letter in value + "\0")
        return f"{label}: .short {words}\n{label}_end:\n"

    def data(label: str, value: bytes) -> str:
        return f"{label}: .byte {', '.join(map(str, value))}\n{label}_end:\n"

    trampoline = load_trampoline()
    descriptors = b"".join(
        MemoryDescriptor(
            MemoryType.RUNTIME_SERVICES_DATA,
            0,
            part.address,
            ALIAS + part.address,
            -(-part.size >> 12),
            MemoryAttribute.RUNTIME,
        ).pack()
        for part in map(trampoline.segment, (".gates", ".mailbox"))
    )
    return (
        SOURCE
        + data("guid", GLOBAL_VARIABLE.wire)
        + data("map", descriptors)
        + text("name", VARIABLE)
        + text("words", "done")
    )


def slot(slots: tuple[str, ...], name: str) -> int:
    return TableHeader.SIZE + 8 * slots.index(name)


@pytest.fixture
def calls(tmp_path: Path, tool: Tool) -> tuple[list[CallEvent], Outcome, str]:
    """Run the program, and give what it called and how it ended."""
    symbols = {
        "alias": ALIAS,
        "tables": 0x30_0000,
        "descriptor_size": MemoryDescriptor.SIZE,
        "get_memory_map": slot(BOOT_SERVICES_SLOTS, "GetMemoryMap"),
        "exit_boot_services": slot(BOOT_SERVICES_SLOTS, "ExitBootServices"),
        "set_virtual_address_map": slot(RUNTIME_SERVICES_SLOTS, "SetVirtualAddressMap"),
        "get_variable": slot(RUNTIME_SERVICES_SLOTS, "GetVariable"),
        "reset_system": slot(RUNTIME_SERVICES_SLOTS, "ResetSystem"),
    }
    code = Assembler(tool("as"), tool("ld"))(source(), symbols, at=0)
    result = Booted(tmp_path).image(program(code))
    return list(result.calls), result.verdict.outcome, result.verdict.message


def test_runtime_services_are_called_at_virtual_addresses_with_virtual_pointers(
    calls: tuple[list[CallEvent], Outcome, str],
) -> None:
    events, outcome, message = calls
    assert [(event.service, event.status) for event in events] == [
        ("GetMemoryMap", EfiStatus.BUFFER_TOO_SMALL),
        ("ExitBootServices", EfiStatus.SUCCESS),
        ("SetVirtualAddressMap", EfiStatus.SUCCESS),
        ("GetVariable", EfiStatus.SUCCESS),
        ("ResetSystem", None),
    ], message
    read = dict(events[3].arguments)
    assert read["VariableName"] == VARIABLE
    data = read["Data"]
    assert isinstance(data, int)
    assert data > ALIAS
    assert dict(events[3].outputs)["DataSize"] == 8
    assert outcome is Outcome.POWERED_OFF
    # The status that it gives is what GetVariable() stored in its memory: boot services and runtime access.
    status = EfiStatus(VariableAttribute.BOOTSERVICE_ACCESS | VariableAttribute.RUNTIME_ACCESS)
    assert message == f'the guest called ResetSystem(EfiResetShutdown) with {status.efi_name}: "done"'
