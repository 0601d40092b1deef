# SPDX-License-Identifier: GPL-2.0-or-later
"""Which machine a name and the user's wishes mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from pvefi.errors import MachineError, UsageError
from pvefi.machines.choose import QemuWish, choose_machine
from pvefi.machines.qemu.command import MachineType
from pvefi.machines.qemu.machine import QemuMachine
from pvefi.machines.xen.options import XenOptions
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


@pytest.fixture
def dom0(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> XenOptions:
    """Have what tells that this is a control domain of Xen below a root of its own, and an xl on PATH."""
    for name, text in {
        "sys/hypervisor/type": "xen",
        "sys/hypervisor/version/major": "4",
        "sys/hypervisor/version/minor": "17",
        "sys/hypervisor/version/extra": ".7",
        "proc/xen/capabilities": "control_d",
        "dev/xen/privcmd": "",
        "bin/xl": "",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "bin/xl").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return XenOptions(root=tmp_path)


def test_xen_is_described_by_its_version(dom0: XenOptions) -> None:
    machine = choose_machine("xen", None, dom0)
    assert (machine.name, machine.about, machine.extra_version) == ("xen", "Xen 4.17.7", ".7")
    assert (machine.runs_kernels, machine.watches, machine.console) == (True, False, "hvc0")


def test_auto_is_xen_where_something_is_wanted_of_it(dom0: XenOptions) -> None:
    assert choose_machine("auto", None, dom0).name == "xen"
    assert choose_machine("auto").name != "xen"


@pytest.mark.parametrize("name", ["qemu", "embedded"])
def test_other_machines_take_no_option_of_xen_s(dom0: XenOptions, name: str) -> None:
    with pytest.raises(UsageError, match=f"found one with --machine {name}"):
        choose_machine(name, None, dom0)


@pytest.mark.parametrize(
    ("wish", "found"),
    [
        (QemuWish(machine_type=MachineType.PC), "no option of QEMU's"),
        (QemuWish(exact=True), "no option of QEMU's"),
        (QemuWish(arguments=("-S",)), "no option of QEMU's"),
        (QemuWish(watched=True), "stops at the hand-off"),
        (QemuWish(outlives=True), "--keep-guest expects"),
    ],
)
def test_xen_is_not_asked_for_what_it_cannot(dom0: XenOptions, wish: QemuWish, found: str) -> None:
    with pytest.raises(UsageError, match=found):
        choose_machine("xen", wish, dom0)


def test_an_entry_of_xen_s_own_is_no_option_of_qemus(dom0: XenOptions) -> None:
    assert choose_machine("xen", QemuWish(foreign=True), dom0).name == "xen"


def test_a_host_without_xen_or_without_xl_is_told(
    dom0: XenOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pvefi.machines.xen.xl._SEARCHED", ())
    (tmp_path / "bin/xl").unlink()
    with pytest.raises(MachineError, match="xl, which makes Xen's domains, is not there") as told:
        choose_machine("xen", None, dom0)
    assert told.value.way_out
    with pytest.raises(MachineError, match="does not run on Xen"):
        choose_machine("xen", None, XenOptions(root=tmp_path / "elsewhere"))
