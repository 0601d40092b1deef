# SPDX-License-Identifier: GPL-2.0-or-later
"""Runtime services as an operating system calls them: through page tables of its own, at new addresses."""

from __future__ import annotations

from pathlib import Path

import pytest

from pvefi.spec.uefi.guids import GLOBAL_VARIABLE
from pvefi.spec.uefi.status import EfiStatus
from pvefi.spec.uefi.variables import VariableAttribute
from pvefi.trace.events import CallEvent
from pvefi.verdict import Outcome
from tests.conftest import Tool
from tests.machines.made import Assembler
from tests.machines.own_mapping import ALIAS, BEGIN, END_BOOT_SERVICES, MAP_ANEW, bytes_at, data, symbols
from tests.test_boot import Booted, program

VARIABLE = "OsIndicationsSupported"

SOURCE = f"""
        .macro  place name, register
        leaq    \\name(%rip), \\register
        addq    %rdi, \\register
        .endm
        {BEGIN}
        {END_BOOT_SERVICES}
        {MAP_ANEW}
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
data:   .quad   -1
attributes:
        .quad   0
"""


def source() -> str:
    """Return the program with its data behind it."""

    def text(label: str, value: str) -> str:
        words = ", ".join(str(ord(letter)) for letter in value + "\0")
        return f"{label}: .short {words}\n{label}_end:\n"

    return (
        SOURCE
        + data()
        + bytes_at("guid", GLOBAL_VARIABLE.wire)
        + text("name", VARIABLE)
        + text("words", "done")
    )


@pytest.fixture
def calls(tmp_path: Path, tool: Tool) -> tuple[list[CallEvent], Outcome, str]:
    """Run the program, and give what it called and how it ended."""
    code = Assembler(tool("as"), tool("ld"))(source(), symbols(), at=0)
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
