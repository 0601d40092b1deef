# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest without a CPU that makes calls of runtime services as Linux does.

That is after ExitBootServices, by pointers that its own page tables translate.

What is measured is all that the host does for one doorbell, but for the machine's part: reading the mailbox
and publishing the answer.
"""

from __future__ import annotations

import time

from pvefi.efi.environment import Environment, Phase
from pvefi.efi.firmware import Firmware
from pvefi.efi.service import Steps
from pvefi.efi.varstore.store import VariableStore
from pvefi.guest.mailbox import Commit, Enter, Function, Request, Return
from pvefi.spec.uefi.status import EfiStatus
from pvefi.spec.uefi.tables import RUNTIME_SERVICES_SLOTS
from pvefi.verdict import Outcome, Verdict
from tests.efi.boot.guest import SCRATCH, FakeGuest

__all__ = ["RuntimeGuest"]

_TABLES = 0x1000000
"""Guest physical memory that is free, for page tables: one of each level."""
_VIRTUAL = 0xFFFF_8880_0000_0000
_PAGE = 4096
_PRESENT_WRITABLE = 3
_TABLE_HEADER_SIZE = 24
_SHADOW_SPACE = 0x28
"""From the stack pointer, when a function is entered, to its fifth argument."""
_MAPPED = 0x200000
"""Bytes from guest physical 0 that are mapped at _VIRTUAL, by pages of 4 KiB."""


class RuntimeGuest:
    """A guest whose non-volatile variables are in `store`."""

    def __init__(self, store: VariableStore) -> None:
        self.guest = FakeGuest()
        self.guest.surroundings.kept.variables = store
        self._firmware = Firmware(self._make, self._enter, lambda _: None, lambda: None)
        self._seq = 1
        self._page = SCRATCH
        self._cr3 = self._page_tables()
        self._stack = self.place(bytes(64)) - _VIRTUAL
        self._firmware.answer(Request(1, Function.BOOT, 0, 0, 0, 0, 0, 0, 0, 0, 0))
        self.guest.efi.phase = Phase.RUNTIME

    def _make(self, _start_info: int) -> Steps[tuple[Environment, int]]:
        yield from ()
        return self.guest.efi, 0

    def _enter(self, _efi: Environment, _information: int) -> Steps[Verdict]:
        yield Enter(0, 0)
        return Verdict(Outcome.EXITED, "")

    def _page_tables(self) -> int:
        """Map the first bytes of memory, and return what goes into CR3."""
        shifts = (39, 30, 21)
        for level, shift in enumerate(shifts):
            entry = (_TABLES + _PAGE * (level + 1)) | _PRESENT_WRITABLE
            at = _TABLES + _PAGE * level + 8 * (_VIRTUAL >> shift & 511)
            self.guest.memory.write(at, entry.to_bytes(8, "little"))
        for page in range(0, _MAPPED, _PAGE):
            at = _TABLES + _PAGE * len(shifts) + 8 * (page // _PAGE)
            self.guest.memory.write(at, (page | _PRESENT_WRITABLE).to_bytes(8, "little"))
        return _TABLES

    def place(self, data: bytes) -> int:
        """Return the virtual address of a page of its own in which `data` now stands."""
        self._page += _PAGE
        assert self._page + _PAGE <= _MAPPED
        self.guest.memory.write(self._page, data)
        return _VIRTUAL + self._page

    def store(self, address: int, data: bytes) -> None:
        """Have `data` at a virtual address that was given before."""
        self.guest.memory.write(address - _VIRTUAL, data)

    def gate(self, name: str) -> int:
        """Return the number of the gate behind the runtime service `name`."""
        efi = self.guest.efi
        slot = efi.tables.runtime_services + _TABLE_HEADER_SIZE + 8 * RUNTIME_SERVICES_SLOTS.index(name)
        gate = int.from_bytes(self.guest.memory.read(slot, 8), "little")
        symbols = efi.trampoline.symbols
        return (gate - symbols["gates"]) // symbols["GATE_SIZE"]

    def seconds(self, gate: int, a: int, b: int, c: int, d: int, fifth: int) -> float:
        """Return how long the answer to a call with these arguments takes; RuntimeError when it fails."""
        self.guest.memory.write(self._stack + _SHADOW_SPACE, fifth.to_bytes(8, "little"))
        self._seq += 1
        stack = _VIRTUAL + self._stack
        request = Request(self._seq, gate, a, b, c, d, stack, self._cr3, 0, 0, self._seq - 1)
        began = time.perf_counter()
        answer = self._firmware.answer(request)
        seconds = time.perf_counter() - began
        if not isinstance(answer, Return | Commit) or answer.value != EfiStatus.SUCCESS:
            raise RuntimeError(f"expected EFI_SUCCESS, found {answer}")
        return seconds
