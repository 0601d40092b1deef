# SPDX-License-Identifier: GPL-2.0-or-later
"""An EFI program that carries out operations, and what it has to say of them."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

from pvefi.spec.uefi.status import EfiStatus
from tests.build.pe import PAGE, PeSection, build_pe
from tests.machines.made import Assembler
from tests.variables_against_ovmf.operations import Operation, Outcome, Walk, read_walk

SOURCE = Path(__file__).with_name("interpreter.S")
SERIAL_PORT, LINE_STATUS = 0x3F8, 0x3FD
"""The first PC serial port."""
_END = 0xFFFFFFFF
_WRITABLE_CODE = 0xE0000020  # contains code, and may be executed, read and written
_TOLD = struct.Struct("<IQ")


class Cut(Exception):
    """What a program said ends before the program did; `outcomes` is what there is."""

    def __init__(self, outcomes: list[Outcome], rest: bytes) -> None:
        super().__init__(f"the program's words end after {len(outcomes)} operations: {rest[-80:]!r}")
        self.outcomes = outcomes


def build_program(
    assemble: Assembler, operations: Sequence[Operation], *, port: int, status: int = 0
) -> bytes:
    """Return a program that carries out `operations`, and says on `port` what came of each."""
    records = bytearray(struct.pack("<HHI", port, status, 0))
    for operation in operations:
        records += operation.record(len(records))
    records += bytes(8)
    code = assemble(SOURCE.read_text(), at=PAGE)
    return build_pe([PeSection(data=code + records, characteristics=_WRITABLE_CODE)])


def read_outcomes(said: bytes, operations: Sequence[Operation]) -> list[Outcome]:
    """Return what came of each operation; Cut when the program did not get to its end."""
    outcomes: list[Outcome] = []
    at = said.find(_TOLD.pack(0, 0)[:4]) if not operations else 0
    try:
        for number, operation in enumerate(operations):
            found, status = _TOLD.unpack_from(said, at)
            if found != number:
                raise Cut(outcomes, said[at:])
            at += _TOLD.size
            if isinstance(operation, Walk):
                outcome, at = read_walk(said, at)
            else:
                size = operation.output_size()
                if at + size > len(said):
                    raise Cut(outcomes, said[at:])
                outcome = Outcome(EfiStatus(status), operation.outputs(said[at : at + size]))
                at += size
            outcomes.append(outcome)
        found, _ = _TOLD.unpack_from(said, at)
    except struct.error as error:
        raise Cut(outcomes, said[at:]) from error
    if found != _END:
        raise Cut(outcomes, said[at:])
    return outcomes
