# SPDX-License-Identifier: GPL-2.0-or-later
"""Whose variable services a list of operations can be carried out by: pvefi's, and OVMF's."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pvefi.boot import Observer, boot
from pvefi.machines import Machine
from pvefi.prepare import BootOptions, prepare
from pvefi.verdict import Outcome as BootOutcome
from tests.machines.made import Assembler
from tests.ovmf import flash, q35
from tests.variables_against_ovmf.operations import Operation, Outcome
from tests.variables_against_ovmf.program import LINE_STATUS, SERIAL_PORT, Cut, build_program, read_outcomes

SECONDS = 300.0
"""How long a list may take before its guest is taken for lost."""
DEBUGCON_PORT = 0x504
"""An I/O port that is free under OVMF, whose own debug output goes to 0x402."""


@dataclass(frozen=True)
class Pvefi:
    """pvefi on `machine`; `scratch` is a folder for its files."""

    assemble: Assembler
    machine: Machine
    scratch: Path

    def run(self, operations: Sequence[Operation], store: Path) -> list[Outcome]:
        """Return what came of each operation; what was stored is in `store`."""
        program = self.scratch / "program.efi"
        program.write_bytes(build_program(self.assemble, operations, port=SERIAL_PORT, status=LINE_STATUS))
        said = bytearray()
        observer = Observer(
            console=lambda _: None, call=lambda _: None, stage=lambda _: None, serial=said.extend
        )
        options = BootOptions(program, self.machine, variables=store, timeout=SECONDS, restarts=False)
        result = boot(prepare(options), observer)
        assert result.verdict.outcome is BootOutcome.POWERED_OFF, (result.verdict, bytes(said[-200:]))
        return read_outcomes(bytes(said), operations)


@dataclass(frozen=True)
class OvmfHost:
    """OVMF in QEMU; `secure` is the build whose flash is written in system management mode only."""

    assemble: Assembler
    qemu: str
    code: Path
    scratch: Path
    secure: bool = False

    def run(self, operations: Sequence[Operation], store: Path) -> list[Outcome]:
        """Return what came of each operation; what was stored is in `store`."""
        program, said = self.scratch / "program.efi", self.scratch / "said"
        program.write_bytes(build_program(self.assemble, operations, port=DEBUGCON_PORT))
        subprocess.run(
            [
                *(self.qemu, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
                *(*q35(secure=self.secure), "-m", "256"),
                *flash(self.code, store, secure=self.secure),
                *("-chardev", f"file,id=said,path={said}"),
                *("-device", f"isa-debugcon,iobase={DEBUGCON_PORT:#x},chardev=said"),
                *("-kernel", str(program)),
            ],
            stdin=subprocess.DEVNULL,
            check=True,
            timeout=SECONDS,
        )
        return read_outcomes(said.read_bytes(), operations)


def run_both(
    ours: Pvefi,
    theirs: OvmfHost,
    operations: Sequence[Operation],
    new_store: Callable[[str], Path],
    purpose: str,
) -> tuple[list[Outcome], list[Outcome], Path, Path]:
    """Return what came of each operation under the one and the other, and their stores for `purpose`."""
    stores = new_store(f"ours-{purpose}.fd"), new_store(f"theirs-{purpose}.fd")
    return (
        run_to_the_end(ours, operations, stores[0]),
        run_to_the_end(theirs, operations, stores[1]),
        *stores,
    )


def run_to_the_end(host: Pvefi | OvmfHost, operations: Sequence[Operation], store: Path) -> list[Outcome]:
    """Return what came of each operation, and say which one a host did not survive."""
    try:
        return host.run(operations, store)
    except Cut as cut:
        lost = operations[len(cut.outcomes)] if len(cut.outcomes) < len(operations) else "the end"
        raise AssertionError(f"{host}: {cut}; lost in {lost}") from cut
