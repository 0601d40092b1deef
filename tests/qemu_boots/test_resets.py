# SPDX-License-Identifier: GPL-2.0-or-later
"""ResetSystem from a program: each kind of it, at each time that it may be called, on each machine."""

from __future__ import annotations

import itertools
from enum import IntEnum
from pathlib import Path

import pytest

from pvefi.boot import Observer, boot
from pvefi.layout import Guid
from pvefi.machines.embedded import EmbeddedMachine
from pvefi.prepare import BootOptions, prepare
from pvefi.spec.uefi.reset import ResetType
from pvefi.spec.uefi.status import EfiStatus
from pvefi.trace.spelling import member_name
from pvefi.verdict import BootResult, Outcome
from tests.conftest import Tool
from tests.machines.made import Assembler
from tests.machines.own_mapping import BEGIN, END_BOOT_SERVICES, MAP_ANEW, bytes_at, data, symbols
from tests.qemu_boots.conftest import Boots
from tests.test_boot import program

KIND = Guid.parse("6b0d7c34-0000-4000-8000-707665666900")
STATUS = EfiStatus.ABORTED


class Stage(IntEnum):
    """How far a program has come when it resets."""

    BOOT_SERVICES = 0
    RUNTIME = 1
    VIRTUAL = 2


SOURCE = f"""
        {BEGIN}
        .if     stage > 0
        {END_BOOT_SERVICES}
        .endif
        .if     stage > 1
        {MAP_ANEW}
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
"""


def image_of(assemble: Assembler, stage: Stage, kind: ResetType) -> bytes:
    """Return the program that comes to `stage`, and resets."""

    words = "no way on\0".encode("utf-16-le") + KIND.wire
    given = {**symbols(), "stage": stage, "kind": kind, "status": STATUS}
    return program(assemble(SOURCE + data() + bytes_at("words", words), given, at=0))


CASES = list(itertools.product(("q35", "pc", "microvm"), Stage, ResetType))


def is_quick(machine: str, stage: Stage, kind: ResetType) -> bool:
    """Whether the case is one of those that each test run has."""
    return (
        machine == "q35"
        and kind
        is {
            Stage.BOOT_SERVICES: ResetType.COLD,
            Stage.RUNTIME: ResetType.SHUTDOWN,
            Stage.VIRTUAL: ResetType.PLATFORM_SPECIFIC,
        }[stage]
    )


@pytest.fixture
def image(tool: Tool, tmp_path: Path, stage: Stage, kind: ResetType) -> Path:
    path = tmp_path / "reset.efi"
    path.write_bytes(image_of(Assembler(tool("as"), tool("ld")), stage, kind))
    return path


@pytest.mark.parametrize("kind", ResetType, ids=lambda kind: kind.name.lower())
@pytest.mark.parametrize("stage", Stage, ids=lambda stage: stage.name.lower())
def test_a_reset_ends_the_run_on_the_embedded_machine(image: Path, stage: Stage, kind: ResetType) -> None:
    options = BootOptions(image, EmbeddedMachine(), timeout=60)
    result = boot(prepare(options), Observer(lambda _: None, lambda _: None, lambda _: None))
    ends_with_what_the_program_said(result, stage, kind)


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
def test_a_reset_ends_the_run_on_qemu(
    boots: Boots, image: Path, machine: str, stage: Stage, kind: ResetType
) -> None:
    result = boots("", "", image=image, machine=machine, restarts=False).result
    ends_with_what_the_program_said(result, stage, kind)


def ends_with_what_the_program_said(result: BootResult, stage: Stage, kind: ResetType) -> None:
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
