# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest without a CPU that makes calls of runtime services as Linux does.

That is after ExitBootServices, by pointers that its own page tables translate.

It answers nothing itself; what is measured around `call` is all that the host does for one doorbell but for
the machine's part, reading the mailbox and publishing the answer.
"""

from __future__ import annotations

from collections.abc import Callable

from pvefi.efi.environment import Environment, Phase
from pvefi.efi.firmware import Firmware
from pvefi.efi.service import Steps
from pvefi.efi.varstore.store import VariableStore
from pvefi.guest.mailbox import Answer, Commit, Enter, Function, Request, Return
from pvefi.spec.uefi.status import EfiStatus
from pvefi.spec.uefi.tables import RUNTIME_SERVICES_SLOTS
from pvefi.verdict import Outcome, Verdict
from tests.efi.boot.guest import FakeGuest

__all__ = ["RuntimeGuest"]

_TABLES = 0x1000000
"""Guest physical memory that is free, for page tables: one of each level."""
_VIRTUAL = 0xFFFF_8880_0000_0000
_PAGE = 4096
_PRESENT_WRITABLE = 3
_TABLE_HEADER_SIZE = 24
_MAPPED = 0x200000
"""Bytes from guest physical 0 that are mapped at _VIRTUAL, by pages of 4 KiB."""


class RuntimeGuest:
    """A guest whose non-volatile variables are in `store`."""

    def __init__(self, store: VariableStore) -> None:
        self.guest = FakeGuest()
        self.guest.surroundings.kept.variables = store
        self._firmware = Firmware(self._make, self._enter, lambda _: None, lambda: None)
        self._seq = 1
        self._cr3 = self._page_tables()
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

    def put(self, data: bytes) -> int:
        """Return the virtual address at which `data` now stands."""
        address = self.guest.put(data)
        assert address + len(data) <= _MAPPED
        return _VIRTUAL + address

    def calling(self, name: str) -> Callable[..., Answer]:
        """Return what makes a call of the runtime service `name`, with its arguments."""
        efi = self.guest.efi
        slot = efi.tables.runtime_services + _TABLE_HEADER_SIZE + 8 * RUNTIME_SERVICES_SLOTS.index(name)
        gate = int.from_bytes(self.guest.memory.read(slot, 8), "little")
        symbols = efi.trampoline.symbols
        function = (gate - symbols["gates"]) // symbols["GATE_SIZE"]
        answer, cr3, stack = self._firmware.answer, self._cr3, self.put(bytes(64))
        space = self.guest.memory

        def call(*arguments: int) -> Answer:
            self._seq += 1
            a, b, c, d, *more = (*arguments, 0, 0, 0, 0) if len(arguments) < 4 else arguments
            for index, word in enumerate(more[: len(arguments) - 4] if len(arguments) > 4 else ()):
                space.write(stack - _VIRTUAL + 0x28 + 8 * index, word.to_bytes(8, "little"))
            return answer(Request(self._seq, function, a, b, c, d, stack, cr3, 0, 0, self._seq - 1))

        return call


def expect_success(answer: Answer) -> None:
    """Raise RuntimeError unless a service has answered EFI_SUCCESS."""
    if not isinstance(answer, Return | Commit) or answer.value != EfiStatus.SUCCESS:
        raise RuntimeError(f"expected EFI_SUCCESS, found {answer}")
