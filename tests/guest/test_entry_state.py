# SPDX-License-Identifier: GPL-2.0-or-later
"""Entering an image in a CPU state of the host's choice, 64-bit and 32-bit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import pytest

from pvefi.guest import load_trampoline
from pvefi.guest.entry_state import EntryState
from pvefi.guest.mailbox import Enter, Function, MailboxLayout
from pvefi.machines import Halted
from pvefi.machines.embedded import EmbeddedMachine
from tests.machines.made import ALIGN, DATA, GATE, HALT, PROGRAM, call, started

TRAMPOLINE = load_trampoline()
SYMBOLS = TRAMPOLINE.symbols
RING = ALIGN + call(TRAMPOLINE.gate(GATE))
ENTRY = PROGRAM + 0x1000
STACK = DATA + 0x1000
GENERAL = ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp")
EXTENDED = tuple(f"r{number}" for number in range(8, 16))

LONG_REGISTERS: dict[str, Any] = {
    name: 0x1111_2222_0000_0000 + at for at, name in enumerate((*GENERAL, *EXTENDED))
}
SHORT_REGISTERS: dict[str, Any] = {name: 0x8765_0000 + at for at, name in enumerate(GENERAL)}
LONG = EntryState(
    **LONG_REGISTERS,
    rsp=STACK,
    rip=ENTRY,
    code_selector=0x38,
    data_selector=0x30,
    bits=64,
    gdt_limit=SYMBOLS["gdt_end"] - SYMBOLS["gdt"] - 1,
    gdt_base=SYMBOLS["gdt"],
)
PROTECTED = replace(
    LONG,
    **SHORT_REGISTERS,
    code_selector=0x10,
    data_selector=0x18,
    bits=32,
)


def entered(state: EntryState, code: bytes = HALT) -> tuple[Mapping[str, int], MailboxLayout]:
    """Return registers and mailbox of a guest that took `state` and executed `code`, which ends with HLT."""
    with started(EmbeddedMachine(), RING, [Enter(DATA, SYMBOLS["enter"])]) as run:
        run.guest.memory.write(DATA, state.pack())
        run.guest.memory.write(ENTRY, code)
        stop = run.go()
        assert stop == Halted(ENTRY + len(code)), stop
        assert run.script.functions == [Function.BOOT, GATE]
        return run.guest.registers(), run.mailbox


def test_guest_and_host_declare_the_same_state() -> None:
    guest = {
        name.removeprefix("STATE_").lower(): value
        for name, value in SYMBOLS.items()
        if re.match(r"STATE_", name)
    }
    host = {field.name: EntryState.offset_of(field.name) for field in fields(EntryState)}
    renamed = {"code": "code_selector", "data": "data_selector", "gdt": "gdt_limit"}
    assert {renamed.get(name, name): value for name, value in guest.items()} == {
        name: value for name, value in host.items() if name not in ("gdt_base", "reserved")
    }
    assert host["gdt_base"] == host["gdt_limit"] + 2  # as LGDT reads it


def test_a_64_bit_entry_has_every_register_as_told() -> None:
    found, _ = entered(LONG)
    for name in (*GENERAL, "rsp", *EXTENDED):
        assert found[name] == getattr(LONG, name), name
    assert (found["cs"], found["ds"], found["es"], found["ss"]) == (0x38, 0x30, 0x30, 0x30)
    assert found["rflags"] & 0x600 == 0  # IF, DF
    assert found["cr3"] == SYMBOLS["page_map_level4"]
    assert found["efer"] & 0x500 == 0x500


def test_a_32_bit_entry_has_every_register_as_told_and_no_paging() -> None:
    found, _ = entered(PROTECTED)
    for name in (*GENERAL, "rsp"):
        assert found[name] & 0xFFFF_FFFF == getattr(PROTECTED, name), name
    assert (found["cs"], found["ds"], found["es"], found["ss"]) == (0x10, 0x18, 0x18, 0x18)
    assert found["rflags"] & 0x600 == 0
    assert found["cr0"] & 0x8000_0001 == 1  # PE, not PG
    assert found["cr4"] == 0
    assert found["efer"] & 0x500 == 0


def test_a_32_bit_entry_executes_32_bit_code() -> None:
    code = bytes.fromhex("40") + HALT  # inc %eax; in 64-bit mode a prefix
    found, _ = entered(PROTECTED, code)
    assert found["rax"] & 0xFFFF_FFFF == PROTECTED.rax + 1


@pytest.mark.parametrize("state", [LONG, PROTECTED], ids=["64 bits", "32 bits"])
def test_the_lock_is_free_for_whoever_rings_next(state: EntryState) -> None:
    _, mailbox = entered(state)
    assert mailbox.lock == 0
