# SPDX-License-Identifier: GPL-2.0-or-later
"""One file of variables under pvefi and OVMF: what a guest wrote under the one is there under the other."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from pvefi.cli import main
from pvefi.efi.own_variables import ClockSetting, keep_clock_setting, next_high_count, read_clock_setting
from pvefi.efi.varstore.edk2 import Edk2Store, empty_store
from pvefi.efi.varstore.plan import Plan
from pvefi.errors import MachineError, UsageError
from pvefi.machines.qemu.ovmf import find_ovmf
from pvefi.probe.reading import probe_facts
from pvefi.spec.edk2.firmware_variables import RTC
from pvefi.spec.edk2.ovmf import OVMF_4M
from pvefi.spec.uefi.guids import EDK2_REAL_TIME_CLOCK
from pvefi.spec.uefi.signature_list import signature_lists
from pvefi.spec.uefi.time import NANOSECONDS_PER_SECOND, Daylight
from tests.conftest import RealFiles, Tool, lacks
from tests.efi.varstore.flash import VENDOR, Flash, held, variable
from tests.ovmf import boot_by_ovmf, ovmf_flash

LINE = "console=ttyS0 quiet probe=count,poweroff"
COUNT = "PvefiProbeCount"


def count_in(store: Path) -> bytes:
    with Edk2Store.open(store, writable=False) as opened:
        (found,) = (one.data for one in opened if one.name == COUNT)
    return found


def boot_by_pvefi(corpus: RealFiles, tool: Tool, store: Path, line: str = LINE, *words: str) -> None:
    tool("qemu-system-x86_64")
    kernel, initrd = str(corpus.kernel("cloud")), str(corpus.probe("cloud"))
    assert main(["boot", kernel, "--initrd", initrd, "--cmdline", line, "--vars", str(store), *words]) == 0


def count_by_ovmf(corpus: RealFiles, tool: Tool, store: Path) -> bytes:
    return boot_by_ovmf(corpus, tool, store, corpus.kernel("cloud"), corpus.probe("cloud"), LINE)


@pytest.mark.parametrize(
    "there_and_back", [pytest.param(False, id="there"), pytest.param(True, id="back", marks=pytest.mark.full)]
)
def test_a_variable_goes_from_pvefi_to_ovmf_and_back(
    corpus: RealFiles, tool: Tool, tmp_path: Path, there_and_back: bool
) -> None:
    try:
        find_ovmf()
    except MachineError as error:
        lacks(str(error))
    store = tmp_path / "vars.fd"
    store.write_bytes(empty_store(OVMF_4M))
    boot_by_pvefi(corpus, tool, store)
    assert count_in(store) == b"1"
    setting = ClockSetting(3600 * NANOSECONDS_PER_SECOND, -60, Daylight.ADJUST_DAYLIGHT)
    with Edk2Store.open(store) as opened:
        keep_clock_setting(opened, setting)
        assert [next_high_count(opened) for _ in range(3)] == [1, 2, 3]
        for_ovmf = opened.get(RTC, EDK2_REAL_TIME_CLOCK)
        assert for_ovmf is not None
    boot_by_pvefi(corpus, tool, store, LINE, "--firmware", "ovmf")
    assert count_in(store) == b"2"
    with Edk2Store.open(store) as opened:
        assert {"BootOrder", "Boot0000", "Timeout"} <= {one.name for one in opened}
        # OVMF has found the time zone and the counter, and went on from there.
        assert opened.get(RTC, EDK2_REAL_TIME_CLOCK) == for_ovmf
        assert read_clock_setting(opened) == setting
        assert next_high_count(opened) == 5
    if there_and_back:
        boot_by_pvefi(corpus, tool, store)
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


def renewing() -> tuple[bytes, list[tuple[int, bytes]], dict[str, bytes]]:
    """Return a store whose next change renews the working block, the writes of that, and what was held."""
    flash = Flash(bytearray(empty_store(OVMF_4M)))
    store = Edk2Store(flash)
    for number in range(1000):
        before, old = bytes(flash.contents), held(store)
        flash.steps.clear()
        store.put(variable("Large", bytes([number % 256]) * 30_000))
        writes = [step for step in flash.steps if step is not None]
        if any(offset == OVMF_4M.working_offset for offset, _ in writes):
            return before, writes, old
    raise AssertionError("the queue of writes has an end")


@pytest.mark.full
@pytest.mark.parametrize("part", ["none", "half", "all"])
def test_ovmf_restores_a_working_block_that_pvefi_was_renewing(
    corpus: RealFiles, tool: Tool, tmp_path: Path, part: str
) -> None:
    before, writes, old = renewing()
    crashed = Plan(bytearray(before))
    for offset, data in writes:
        if offset == OVMF_4M.working_offset:
            crashed.write(offset, data[: {"none": 0, "half": len(data) // 2, "all": len(data)}[part]])
            break
        crashed.write(offset, data)
    path = tmp_path / "vars.fd"
    path.write_bytes(crashed.image)
    assert count_by_ovmf(corpus, tool, path)
    with Edk2Store.open(path) as opened:
        assert held(opened)["Large"] == old["Large"]
        assert held(opened)[COUNT] == b"1"


@pytest.mark.full
@pytest.mark.parametrize("written", [30, 61, 2000])
def test_ovmf_goes_on_behind_a_variable_that_a_crash_of_pvefi_cut_short(
    corpus: RealFiles, tool: Tool, tmp_path: Path, written: int
) -> None:
    flash = Flash(bytearray(empty_store(OVMF_4M)))
    store = Edk2Store(flash)
    store.put(variable("Large", b"old" * 1000))
    crashed = Plan(bytearray(flash.contents))
    flash.steps.clear()
    store.put(variable("Large", b"new" * 1000))
    for step in flash.steps:
        if step is not None and len(step[1]) > 1:
            crashed.write(step[0], step[1][:written])
            break
        if step is not None:
            crashed.write(*step)
    path = tmp_path / "vars.fd"
    path.write_bytes(crashed.image)
    assert count_by_ovmf(corpus, tool, path)
    with Edk2Store.open(path) as opened:
        assert held(opened)["Large"] == b"old" * 1000
        assert held(opened)[COUNT] == b"1"


def test_pvefi_and_qemu_do_not_have_one_store_at_a_time(
    corpus: RealFiles, tool: Tool, tmp_path: Path
) -> None:
    path = tmp_path / "vars.fd"
    path.write_bytes(empty_store(OVMF_4M))
    words = [
        *(tool("qemu-system-x86_64"), "-machine", "q35,accel=tcg", "-m", "64", "-display", "none", "-S"),
        *("-nodefaults", "-qmp", "stdio"),
        *ovmf_flash(corpus, path),
    ]
    with Edk2Store.open(path):
        done = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
        assert done.returncode
        assert "Failed to lock" in done.stderr
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True) as qemu:
        try:
            assert qemu.stdout is not None
            assert "QMP" in qemu.stdout.readline()
            with pytest.raises(UsageError, match="found it in use"):
                Edk2Store.open(path)
            with Edk2Store.open(path, writable=False) as store:
                assert held(store) == {}
        finally:
            qemu.kill()
    Edk2Store.open(path).close()


def kernel_certificates(text: str) -> set[str]:
    """Return what the kernel says of each certificate of db that it takes: common name and key's hash."""
    loaded = re.findall(r"integrity: Loaded X\.509 cert '([^']*)'", text)
    return set(loaded)


@pytest.mark.parametrize(
    ("firmware", "sets"),
    [
        ("pvefi", ("--microsoft", "--debian")),
        pytest.param("ovmf", ("--microsoft", "--debian"), marks=pytest.mark.full),
        pytest.param("ovmf", ("--debian",), marks=pytest.mark.full),
    ],
    ids=["pvefi", "ovmf", "ovmf without a platform key"],
)
def test_a_kernel_trusts_whom_a_store_was_enrolled_for(
    corpus: RealFiles,
    tool: Tool,
    tmp_path: Path,
    capfdbinary: pytest.CaptureFixture[bytes],
    firmware: str,
    sets: tuple[str, ...],
) -> None:
    store = tmp_path / "vars.fd"
    store.write_bytes(empty_store(OVMF_4M))
    assert main(["vars", "enroll", str(store), *sets]) == 0
    with Edk2Store.open(store, writable=False) as opened:
        (database,) = (one.data for one in opened if one.name == "db")
    line = "console=ttyS0 probe=poweroff"
    if firmware == "ovmf":
        kernel, initrd = corpus.kernel("cloud"), corpus.probe("cloud")
        text = boot_by_ovmf(corpus, tool, store, kernel, initrd, line, secure=True).decode("latin-1")
        assert f"Secure boot {'enabled' if '--microsoft' in sets else 'disabled'}" in text
    else:
        boot_by_pvefi(corpus, tool, store, line)
        text = capfdbinary.readouterr().out.decode("latin-1")
    loaded = kernel_certificates(text)
    assert len(loaded) == sum(len(one.signatures) for one in signature_lists(database))
    assert any(one.startswith("Debian Secure Boot CA: ") for one in loaded)
