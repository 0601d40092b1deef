# SPDX-License-Identifier: GPL-2.0-or-later
"""The hosts that operations are carried out by."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pvefi.efi.varstore.edk2 import empty_store
from pvefi.machines.choose import choose_machine
from pvefi.spec.edk2.ovmf import OVMF_4M
from tests.conftest import RealFiles, Tool
from tests.machines.made import Assembler
from tests.variables_against_ovmf.hosts import OvmfHost, Pvefi

NewStore = Callable[[str], Path]


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("operations")


@pytest.fixture(scope="module")
def new_store(scratch: Path) -> NewStore:
    """Give `new_store("ours.fd")`, the path of an empty store."""

    def make(name: str) -> Path:
        path = scratch / name
        path.write_bytes(empty_store(OVMF_4M))
        return path

    return make


@pytest.fixture(scope="module")
def pvefi(tool: Tool, scratch: Path) -> Callable[[str], Pvefi]:
    """Give `pvefi("embedded")`."""
    assemble = Assembler(tool("as"), tool("ld"))

    def host(machine: str) -> Pvefi:
        if machine == "qemu":
            tool("qemu-system-x86_64")
        return Pvefi(assemble, choose_machine(machine), scratch)

    return host


@pytest.fixture(scope="module")
def ovmf(corpus: RealFiles, tool: Tool, scratch: Path) -> Callable[[str], OvmfHost]:
    """Give `ovmf("OVMF_CODE_4M.fd")`, a build of OVMF."""

    def host(code: str) -> OvmfHost:
        return OvmfHost(
            Assembler(tool("as"), tool("ld")),
            tool("qemu-system-x86_64"),
            corpus.file("ovmf", f"usr/share/OVMF/{code}"),
            scratch,
            secure="secboot" in code,
        )

    return host
