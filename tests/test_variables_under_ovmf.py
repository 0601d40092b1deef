# SPDX-License-Identifier: GPL-2.0-or-later
"""One file of variables under pvefi and OVMF: what a guest wrote under the one is there under the other."""

from __future__ import annotations

from pathlib import Path

import pytest

from probe import kernel_file, probe_initrd
from pvefi.cli import main
from pvefi.efi.varstore.edk2 import Edk2Store, empty_store
from pvefi.efi.varstore.plan import Plan
from pvefi.probe.reading import probe_facts
from pvefi.spec.edk2.ovmf import OVMF_4M
from tests.conftest import RealFiles, Tool
from tests.efi.varstore.flash import VENDOR, Flash, variable
from tests.ovmf import boot_by_ovmf

LINE = "console=ttyS0 quiet probe=count,poweroff"
COUNT = "PvefiProbeCount"


def count_in(store: Path) -> bytes:
    with Edk2Store.open(store, writable=False) as opened:
        (found,) = (one.data for one in opened if one.name == COUNT)
    return found


def boot_by_pvefi(store: Path) -> None:
    kernel, initrd = str(kernel_file("cloud")), str(probe_initrd("cloud"))
    assert main(["boot", kernel, "--initrd", initrd, "--cmdline", LINE, "--vars", str(store)]) == 0


def count_by_ovmf(corpus: RealFiles, tool: Tool, store: Path) -> bytes:
    return boot_by_ovmf(corpus, tool, store, kernel_file("cloud"), corpus.probe("cloud"), LINE)


@pytest.mark.parametrize(
    "there_and_back", [pytest.param(False, id="there"), pytest.param(True, id="back", marks=pytest.mark.full)]
)
def test_a_variable_goes_from_pvefi_to_ovmf_and_back(
    corpus: RealFiles, tool: Tool, tmp_path: Path, there_and_back: bool
) -> None:
    store = tmp_path / "vars.fd"
    store.write_bytes(empty_store(OVMF_4M))
    boot_by_pvefi(store)
    assert count_in(store) == b"1"
    assert count_by_ovmf(corpus, tool, store)
    assert count_in(store) == b"2"
    with Edk2Store.open(store, writable=False) as opened:
        assert {"BootOrder", "Boot0000", "Timeout"} <= {one.name for one in opened}
    if there_and_back:
        boot_by_pvefi(store)
        assert count_in(store) == b"3"


@pytest.mark.full
@pytest.mark.parametrize("written", [3000, 200_000])
def test_ovmf_completes_what_a_crash_of_pvefi_interrupted(
    corpus: RealFiles, tool: Tool, tmp_path: Path, written: int
) -> None:
    """The whole store is being moved, and only its first bytes are in their place."""
    flash = Flash(bytearray(empty_store(OVMF_4M)))
    store = Edk2Store(flash)
    number = 0
    while True:
        before = bytearray(flash.contents)
        flash.steps.clear()
        number += 1
        store.put(variable("Large", bytes([number % 256]) * 3000))
        if any(step is not None and step[0] == OVMF_4M.spare_offset for step in flash.steps):
            break
    crashed = Plan(before)
    for step in flash.steps:
        if step is not None and step[0] == 0:
            crashed.write(0, step[1][:written])
            break
        if step is not None:
            crashed.write(*step)
    path = tmp_path / "vars.fd"
    path.write_bytes(crashed.image)
    text = count_by_ovmf(corpus, tool, path)
    with Edk2Store.open(path) as opened:
        assert opened.get("Large", VENDOR) == variable("Large", bytes([number % 256]) * 3000)
    assert count_in(path) == b"1"
    assert probe_facts(text)
