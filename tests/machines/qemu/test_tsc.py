# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel on microvm under TCG is told the rate of the time-stamp counter, and no other kernel is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pvefi.machines.qemu.command import MachineType, QemuOptions
from pvefi.machines.qemu.machine import QemuMachine
from pvefi.machines.qemu.tsc import tsc_khz
from pvefi.prepare import BootOptions, prepare
from tests.conftest import RealFiles

MICROVM = QemuOptions("qemu-system-x86_64", MachineType.MICROVM)
WORDS = "console=ttyS0 panic=-1"


def test_the_rate_of_the_counter_is_the_same_twice() -> None:
    rates = tsc_khz(), tsc_khz()
    if None not in rates:
        assert rates[0] == pytest.approx(rates[1], rel=0.01)


@pytest.mark.parametrize(
    "options",
    [
        replace(MICROVM, machine_type=MachineType.Q35),
        replace(MICROVM, machine_type=MachineType.PC),
        replace(MICROVM, accelerator="kvm"),
        replace(MICROVM, exact=True),
    ],
    ids=["q35", "pc", "kvm", "exact"],
)
def test_a_machine_with_another_clock_has_nothing_to_say(options: QemuOptions) -> None:
    assert QemuMachine(options).kernel_argument() == ""


def test_only_a_kernel_that_was_not_told_otherwise_is_told_the_rate(corpus: RealFiles) -> None:
    rate = tsc_khz()
    if rate is None:
        pytest.skip("nobody here can read the time-stamp counter")

    def command_line(path: Path, text: str) -> str:
        made = BootOptions(path, QemuMachine(MICROVM), command_line=text)
        return prepare(made).request.command_line

    kernel, program = corpus.file("cloud", "boot/vmlinuz-*"), corpus.file("efitools", "HelloWorld.efi")
    assert command_line(program, "a b") == "a b"
    assert command_line(kernel, f"tsc_early_khz=1 {WORDS}") == f"tsc_early_khz=1 {WORDS}"
    told, _, rest = command_line(kernel, WORDS).partition(" ")
    assert rest == WORDS
    name, _, value = told.partition("=")
    assert name == "tsc_early_khz"
    assert int(value) == pytest.approx(rate, rel=0.01)
