# SPDX-License-Identifier: GPL-2.0-or-later
"""Which machine a name and the user's wishes mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from pvefi.errors import MachineError, UsageError
from pvefi.machines.choose import QemuWish, choose_machine
from pvefi.machines.qemu.command import MachineType
from pvefi.machines.qemu.machine import QemuMachine
from tests.conftest import Tool


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Have no QEMU on PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))


def made(wish: QemuWish) -> QemuMachine:
    machine = choose_machine("qemu", wish)
    assert isinstance(machine, QemuMachine)
    return machine


def test_auto_is_the_embedded_machine_where_there_is_no_qemu(nowhere: None) -> None:
    assert choose_machine("auto").name == "embedded"
    assert choose_machine("auto", QemuWish(watched=True)).name == "embedded"


def test_qemu_that_is_not_there_is_told_with_the_way_out(nowhere: None) -> None:
    with pytest.raises(MachineError) as told:
        choose_machine("qemu")
    assert told.value.way_out


def test_auto_does_not_do_without_what_only_qemu_can(nowhere: None) -> None:
    with pytest.raises(MachineError):
        choose_machine("auto", QemuWish(exact=True))


def test_auto_is_qemu_where_there_is_one(tool: Tool) -> None:
    tool("qemu-system-x86_64")
    assert choose_machine("auto", QemuWish(accelerator="tcg")).name == "qemu"


def test_the_embedded_machine_takes_no_option_of_qemus() -> None:
    assert choose_machine("embedded", QemuWish(watched=True)).name == "embedded"
    with pytest.raises(UsageError, match="no option of QEMU's"):
        choose_machine("embedded", QemuWish(machine_type=MachineType.PC))


def test_a_wish_reaches_qemu(tool: Tool) -> None:
    program = tool("qemu-system-x86_64")
    options = made(
        QemuWish(program, MachineType.PC, "tcg", cpu="qemu64", firmware="seabios", arguments=("-S",))
    ).options
    assert (options.machine_type, options.accelerator, options.cpu) == (MachineType.PC, "tcg", "qemu64")
    assert (options.firmware, options.arguments) == ("bios-256k.bin", ("-S",))


@pytest.mark.parametrize(
    ("wish", "found"), [("qboot", "qboot.rom"), ("seabios", "bios-256k.bin"), ("/my/own.rom", "/my/own.rom")]
)
def test_firmware_goes_by_name_or_path(tool: Tool, wish: str, found: str) -> None:
    program = tool("qemu-system-x86_64")
    assert made(QemuWish(program, accelerator="tcg", firmware=wish)).options.firmware == found


def test_microvm_starts_with_its_own_firmware(tool: Tool) -> None:
    program = tool("qemu-system-x86_64")
    assert made(QemuWish(program, MachineType.MICROVM, "tcg")).options.firmware == ""


@pytest.mark.parametrize("wish", [QemuWish(exact=True), QemuWish(watched=True)], ids=["exact", "watched"])
def test_what_kvm_cannot_do_runs_by_tcg(tool: Tool, wish: QemuWish) -> None:
    tool("qemu-system-x86_64")
    machine = made(wish)
    assert machine.options.accelerator == "tcg"
    assert machine.about.startswith("QEMU ")
