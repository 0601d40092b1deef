# SPDX-License-Identifier: GPL-2.0-or-later
"""ResetSystem from a program: each kind of it, at each time that it may be called, on each machine."""

from __future__ import annotations

import itertools
from enum import IntEnum
from pathlib import Path

import pytest

from pvefi.boot import Observer, boot
from pvefi.guest import load_trampoline
from pvefi.layout import Guid
from pvefi.machines.embedded import EmbeddedMachine
from pvefi.prepare import BootOptions, prepare
from pvefi.spec.uefi.memory import MemoryAttribute, MemoryDescriptor, MemoryType
from pvefi.spec.uefi.reset import ResetType
from pvefi.spec.uefi.status import EfiStatus
from pvefi.spec.uefi.tables import BOOT_SERVICES_SLOTS, RUNTIME_SERVICES_SLOTS, TableHeader
from pvefi.trace.spelling import member_name
from pvefi.verdict import Outcome
from tests.conftest import Tool
from tests.machines.made import Assembler
from tests.qemu_boots.conftest import Boots
from tests.test_boot import program

ALIAS = 0xFFFF_FF80_0000_0000
"""Where the program sees all memory a second time: the last entry of its highest page table."""
KIND = Guid.parse("6b0d7c34-0000-4000-8000-707665666900")
STATUS = EfiStatus.ABORTED


class Stage(IntEnum):
    """How far a program has come when it resets."""

    BOOT_SERVICES = 0
    RUNTIME = 1
    VIRTUAL = 2


# %rbx = the system table, %rsi = the image's handle, %rdi = ALIAS once the page tables know of it
SOURCE = """
        .macro  service table, slot
        movq    \\table(%rbx, %rdi), %rax
        callq   *\\slot(%rax)
        .endm

        subq    $0x48, %rsp
        movq    %rdx, %rbx
        movq    %rcx, %rsi
        xorl    %edi, %edi
        .if     stage > 0
        leaq    size(%rip), %rcx        # the key is told even where the map does not fit
        xorl    %edx, %edx
        leaq    key(%rip), %r8
        xorl    %r9d, %r9d
        movq    $0, 0x20(%rsp)
        service 0x60, get_memory_map
        movq    %rsi, %rcx
        movq    key(%rip), %rdx
        service 0x60, exit_boot_services
        .endif
        .if     stage > 1
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
        .endif
        movl    $0x123, %ecx            # no kind of reset: the call returns
        xorl    %edx, %edx
        xorl    %r8d, %r8d
        xorl    %r9d, %r9d
        service 0x58, reset_system
        movl    $kind, %ecx
        movabsq $status, %rdx
        movl    $words_end - words, %r8d
        leaq    words(%rip), %r9
        addq    %rdi, %r9
        service 0x58, reset_system
        hlt
        .balign 8
size:   .quad   0
key:    .quad   0
"""


def image_of(assemble: Assembler, stage: Stage, kind: ResetType) -> bytes:
    """Return the program that comes to `stage`, and resets."""

    def data(label: str, value: bytes) -> str:
        return f"{label}: .byte {', '.join(map(str, value))}\n{label}_end:\n"

    def slot(slots: tuple[str, ...], name: str) -> int:
        return TableHeader.SIZE + 8 * slots.index(name)

    trampoline = load_trampoline()
    runtime = (trampoline.segment(name) for name in (".gates", ".mailbox"))
    descriptors = b"".join(
        MemoryDescriptor(
            MemoryType.RUNTIME_SERVICES_DATA,
            0,
            part.address,
            ALIAS + part.address,
            -(-part.size >> 12),
            MemoryAttribute.RUNTIME,
        ).pack()
        for part in runtime
    )
    symbols = {
        "alias": ALIAS,
        "tables": 0x30_0000,
        "stage": stage,
        "kind": kind,
        "status": STATUS,
        "descriptor_size": MemoryDescriptor.SIZE,
        "get_memory_map": slot(BOOT_SERVICES_SLOTS, "GetMemoryMap"),
        "exit_boot_services": slot(BOOT_SERVICES_SLOTS, "ExitBootServices"),
        "set_virtual_address_map": slot(RUNTIME_SERVICES_SLOTS, "SetVirtualAddressMap"),
        "reset_system": slot(RUNTIME_SERVICES_SLOTS, "ResetSystem"),
    }
    words = "no way on\0".encode("utf-16-le") + KIND.wire
    return program(assemble(SOURCE + data("map", descriptors) + data("words", words), symbols, at=0))


CASES = list(itertools.product(("embedded", "q35", "pc", "microvm"), Stage, ResetType))


def is_quick(machine: str, stage: Stage, kind: ResetType) -> bool:
    """Whether the case is one of those that each test run has."""
    if machine == "embedded":
        return True
    return (
        machine == "q35"
        and kind
        is {
            Stage.BOOT_SERVICES: ResetType.COLD,
            Stage.RUNTIME: ResetType.SHUTDOWN,
            Stage.VIRTUAL: ResetType.PLATFORM_SPECIFIC,
        }[stage]
    )


@pytest.mark.parametrize(
    ("machine", "stage", "kind"),
    [
        pytest.param(
            *case,
            marks=() if is_quick(*case) else (pytest.mark.full,),
            id=f"{case[0]}-{case[1].name.lower()}-{case[2].name.lower()}",
        )
        for case in CASES
    ],
)
def test_a_reset_ends_the_run_with_what_the_program_said(
    boots: Boots, tool: Tool, tmp_path: Path, machine: str, stage: Stage, kind: ResetType
) -> None:
    image = tmp_path / "reset.efi"
    image.write_bytes(image_of(Assembler(tool("as"), tool("ld")), stage, kind))
    if machine == "embedded":
        options = BootOptions(image, EmbeddedMachine(), timeout=60)
        result = boot(prepare(options), Observer(lambda _: None, lambda _: None, lambda _: None))
    else:
        result = boots("", "", image=image, machine=machine, restarts=False).result
    off = kind is ResetType.SHUTDOWN
    assert result.verdict.outcome is (Outcome.POWERED_OFF if off else Outcome.REBOOTED), result.verdict
    assert result.verdict.status is STATUS
    which = f", {KIND}" if kind is ResetType.PLATFORM_SPECIFIC else ""
    assert result.verdict.message == (
        f'the guest called ResetSystem({member_name(kind)}) with {STATUS.efi_name}: "no way on"{which}'
    )
    called = [event.service for event in result.calls]
    expected = ["GetMemoryMap", "ExitBootServices", "SetVirtualAddressMap"][: (0, 2, 3)[stage]]
    assert called == [*expected, "ResetSystem", "ResetSystem"]
