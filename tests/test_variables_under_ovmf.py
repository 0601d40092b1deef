# SPDX-License-Identifier: GPL-2.0-or-later
"""One file of variables under pvefi and OVMF: what a guest wrote under the one is there under the other."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from probe import kernel_file, probe_initrd
from pvefi.cli import main
from pvefi.efi.own_variables import ClockSetting, keep_clock_setting, next_high_count, read_clock_setting
from pvefi.efi.varstore.edk2 import Edk2Store, empty_store
from pvefi.efi.varstore.plan import Plan
from pvefi.probe.reading import probe_facts
from pvefi.spec.edk2.ovmf import OVMF_4M
from pvefi.spec.uefi.signature_list import signature_lists
from pvefi.spec.uefi.time import NANOSECONDS_PER_SECOND, Daylight
from tests.conftest import RealFiles, Tool
from tests.efi.varstore.flash import VENDOR, Flash, variable

LINE = "console=ttyS0 quiet probe=count,poweroff"
COUNT = "PvefiProbeCount"


def count_in(store: Path) -> bytes:
    with Edk2Store.open(store, writable=False) as opened:
        (found,) = (one.data for one in opened if one.name == COUNT)
    return found


def boot_by_pvefi(store: Path) -> None:
    kernel, initrd = str(kernel_file("cloud")), str(probe_initrd("cloud"))
    assert main(["boot", kernel, "--initrd", initrd, "--cmdline", LINE, "--vars", str(store)]) == 0


def boot_by_ovmf(
    corpus: RealFiles, tool: Tool, store: Path, line: str = LINE, *, secure: bool = False
) -> bytes:
    code = corpus.file("ovmf", f"usr/share/OVMF/OVMF_CODE_4M{'.secboot' * secure}.fd")
    # OVMF with Secure Boot has its variables from SMM, and nobody else gets at the flash.
    smm = ("smm=on", "-global", "driver=cfi.pflash01,property=secure,value=on") if secure else ("smm=off",)
    flash = "if=pflash,format=raw"
    done = subprocess.run(
        [
            *(tool("qemu-system-x86_64"), "-machine", f"q35,accel=tcg,{smm[0]}", *smm[1:]),
            *("-m", "512", "-display", "none"),
            *("-nodefaults", "-serial", "stdio", "-monitor", "none", "-no-reboot"),
            *("-drive", f"{flash},unit=0,readonly=on,file={code}", "-drive", f"{flash},unit=1,file={store}"),
            *("-kernel", str(kernel_file("cloud")), "-initrd", str(probe_initrd("cloud")), "-append", line),
        ],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        check=True,
        timeout=180,
    )
    return done.stdout


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
    setting = ClockSetting(3600 * NANOSECONDS_PER_SECOND, -60, Daylight.ADJUST_DAYLIGHT)
    with Edk2Store.open(store) as opened:
        keep_clock_setting(opened, setting)
        assert [next_high_count(opened) for _ in range(3)] == [1, 2, 3]
    assert boot_by_ovmf(corpus, tool, store)
    assert count_in(store) == b"2"
    with Edk2Store.open(store) as opened:
        assert {"BootOrder", "Boot0000", "Timeout"} <= {one.name for one in opened}
        # OVMF has found the clock's setting and the counter, and went on from there.
        assert read_clock_setting(opened) == setting
        assert next_high_count(opened) == 5
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
    text = boot_by_ovmf(corpus, tool, path)
    with Edk2Store.open(path) as opened:
        assert opened.get("Large", VENDOR) == variable("Large", bytes([number % 256]) * 3000)
    assert count_in(path) == b"1"
    assert probe_facts(text)


@pytest.mark.full
@pytest.mark.parametrize(
    ("sets", "mode"),
    [(("--microsoft", "--debian"), "enabled"), (("--debian",), "disabled")],
    ids=["microsoft", "debian"],
)
def test_ovmf_and_the_kernel_trust_whom_a_store_was_enrolled_for(
    corpus: RealFiles, tool: Tool, tmp_path: Path, sets: tuple[str, ...], mode: str
) -> None:
    store = tmp_path / "vars.fd"
    store.write_bytes(empty_store(OVMF_4M))
    assert main(["vars", "enroll", str(store), *sets]) == 0
    with Edk2Store.open(store, writable=False) as opened:
        (database,) = (one.data for one in opened if one.name == "db")
    text = boot_by_ovmf(corpus, tool, store, "console=ttyS0 probe=poweroff", secure=True).decode("latin-1")
    assert f"Secure boot {mode}" in text
    # Linux certs/: the kernel names each certificate of db by its common name and its subject's key.
    loaded = set(re.findall("Loaded X.509 cert '([^']*)'", text))
    assert sum(not one.startswith("Build time autogenerated") for one in loaded) == sum(
        len(one.signatures) for one in signature_lists(database)
    )
    assert any(one.startswith("Debian Secure Boot CA: ") for one in loaded)
