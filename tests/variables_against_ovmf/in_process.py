# SPDX-License-Identifier: GPL-2.0-or-later
"""Carries operations out by pvefi's services themselves, on a guest that is all memory and no CPU.

The interpreter's part is done here: it takes the same records.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from types import GeneratorType

from pvefi.efi.environment import Phase
from pvefi.efi.errors import EfiError
from pvefi.efi.runtime import variables
from pvefi.efi.service import Arguments, services_of
from pvefi.efi.varstore.edk2 import Edk2Store, empty_store
from pvefi.layout import Guid
from pvefi.spec.edk2.ovmf import OVMF_4M
from pvefi.spec.uefi.status import EfiStatus
from pvefi.spec.uefi.tables import RUNTIME_SERVICES_SLOTS, TableHeader
from pvefi.trace.events import Address
from tests.efi.boot.guest import SCRATCH, FakeGuest
from tests.efi.varstore.flash import Flash
from tests.variables_against_ovmf.operations import (
    ExitBootServices,
    GetNextVariableName,
    Operation,
    Outcome,
    Walk,
    wide,
)

_NAME_ROOM = 0x10000
_STEPS = 0x2000


@dataclass
class InProcess:
    """One guest whose services are called as plain Python; its variables last as they do in OVMF's file."""

    guest: FakeGuest = field(default_factory=FakeGuest)

    def __post_init__(self) -> None:
        store = Edk2Store(Flash(bytearray(empty_store(OVMF_4M))), (OVMF_4M,))
        self.guest.surroundings.kept.variables = store

    def carry_out(self, operation: Operation) -> Outcome:
        """Return what came of `operation`."""
        if isinstance(operation, ExitBootServices):
            self.guest.efi.phase = Phase.RUNTIME
            return Outcome(EfiStatus.SUCCESS)
        if isinstance(operation, Walk):
            return self._walk()
        record = operation.record(0)
        memory = self.guest.memory
        memory.write(SCRATCH, record)
        _, kind, pointers, at, size, *words = struct.unpack_from("<IHHII5Q", record)
        words = [word + SCRATCH if pointers >> number & 1 else word for number, word in enumerate(words)]
        stack = SCRATCH - 0x100
        memory.write(stack + 0x28, words[4].to_bytes(8, "little"))
        status = self._call(kind, Arguments(memory, (words[0], words[1], words[2], words[3]), stack))
        return Outcome(status, operation.outputs(memory.read(Address(SCRATCH + at), size)))

    def _call(self, kind: int, arguments: Arguments) -> EfiStatus:
        name = RUNTIME_SERVICES_SLOTS[(kind - TableHeader.SIZE) // 8]
        service = services_of(variables)[name]
        try:
            result = service(self.guest.efi, *service.decode(arguments))
        except EfiError as error:
            return error.status
        if isinstance(result, GeneratorType):
            self.guest.run(result)
        return EfiStatus.SUCCESS

    def _walk(self) -> Outcome:
        found: list[tuple[bytes, Guid, int | None]] = []
        name, vendor, size, told = wide(""), Guid(bytes(16)), 2, None
        for _ in range(_STEPS):
            outcome = self.carry_out(GetNextVariableName(size, name.ljust(_NAME_ROOM, b"\0"), vendor))
            new_size, new_name, new_vendor = outcome.outputs
            assert isinstance(new_size, int)
            assert isinstance(new_name, bytes)
            assert isinstance(new_vendor, Guid)
            size = new_size
            if outcome.status is EfiStatus.BUFFER_TOO_SMALL:
                told = size
                continue
            if outcome.status is not EfiStatus.SUCCESS:
                return Outcome(outcome.status, tuple(found))
            name, vendor = new_name[:size], new_vendor
            found.append((name, vendor, told))
            told = None
        raise AssertionError("a walk without end")
