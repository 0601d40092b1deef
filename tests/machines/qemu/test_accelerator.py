# SPDX-License-Identifier: GPL-2.0-or-later
"""Which accelerator `auto` takes, and what it says about why."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pvefi.errors import MachineError
from pvefi.machines.qemu import accelerator
from pvefi.machines.qemu.accelerator import (
    KVM_DEVICE,
    Accelerator,
    Trial,
    choose_accelerator,
    decide,
    try_kvm,
    try_tcg,
)
from pvefi.machines.qemu.installation import Installation
from pvefi.machines.qemu.speed import Speed
from tests.machines.qemu.made import fake_qemu, installed


def kvm(rate: float) -> Trial:
    return Trial("kvm", "host", Speed(rate, 1e-5))


def tcg(rate: float) -> Trial:
    return Trial("tcg", "max", Speed(rate, 1e-7))


def test_kvm_that_is_faster_is_taken() -> None:
    assert decide(kvm(3.1e9), tcg(0.9e9)) == Accelerator(
        "kvm", "host", "KVM (3.1 billion instructions a second)"
    )


def test_kvm_that_emulates_is_not_taken() -> None:
    assert decide(kvm(1.4e6), tcg(56e6)) == Accelerator("tcg", "max", "TCG: KVM is slower here")


def test_kvm_is_taken_where_tcg_does_not_run_or_was_not_tried() -> None:
    assert decide(kvm(1e6), Trial("tcg", refusal="not built in")).name == "kvm"
    assert decide(kvm(1e10), None).name == "kvm"


def test_what_cannot_run_is_not_taken_and_says_why() -> None:
    choice = decide(Trial("kvm", refusal="no permission to open /dev/kvm", way_out="usermod"), None)
    assert choice == Accelerator("tcg", "max", "TCG: no permission to open /dev/kvm (usermod)")


def test_tcg_by_name_runs_nothing(tmp_path: Path) -> None:
    nowhere = installed(tmp_path / "none")
    assert choose_accelerator("tcg", nowhere, "q35") == Accelerator("tcg", "max", "TCG, as asked for")


def test_without_a_device_nothing_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerator, "_module", lambda: "")
    nowhere = installed(tmp_path / "no-qemu")
    device = tmp_path / "kvm"
    choice = choose_accelerator("auto", nowhere, "q35", device)
    assert choice == Accelerator("tcg", "max", f"TCG: no {device}")
    with pytest.raises(MachineError) as caught:
        choose_accelerator("kvm", nowhere, "q35", device)
    assert str(caught.value) == f"no {device} (--accel tcg runs everywhere)"


@pytest.mark.parametrize(
    ("flags", "way_out"),
    [
        ("fpu vmx lm", "as root: modprobe kvm_intel"),
        ("fpu svm lm", "as root: modprobe kvm_amd"),
        ("fpu lm", ""),
    ],
)
def test_a_cpu_that_is_made_for_kvm_only_lacks_the_module(tmp_path: Path, flags: str, way_out: str) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor : 0\nflags : {flags}\n")
    assert accelerator._module(tmp_path / "cpuinfo") == way_out
    assert accelerator._module(tmp_path / "none") == ""


def test_a_device_that_may_not_be_opened_says_who_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = tmp_path / "kvm"
    device.touch()
    device.chmod(0o660)
    monkeypatch.setattr("grp.getgrgid", lambda _: type("Group", (), {"gr_name": "kvm"}))

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.open", refuse)
    trial = try_kvm(installed(tmp_path / "none"), "q35", device)
    assert trial.refusal == f"no permission to open {device}"
    assert trial.way_out == "as root: usermod -aG kvm USER, then log in again"
    device.chmod(0o600)
    assert "chmod 666" in try_kvm(installed(tmp_path / "none"), "q35", device).way_out


def test_a_device_that_is_none_is_refused_by_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(19, "No such device")

    monkeypatch.setattr("os.open", refuse)
    assert try_kvm(installed(tmp_path / "none"), "q35").refusal == (
        f"{KVM_DEVICE} cannot be opened: No such device"
    )


def test_a_refused_host_cpu_gives_way_to_the_next_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def measured(_qemu: Installation, _type: str, options: tuple[str, ...], _seconds: float) -> Speed:
        tried.append(options[-1])
        if options[-1] == "host":
            raise MachineError("CPU model 'host' is refused")
        return Speed(1e6, 1e-5)

    monkeypatch.setattr(accelerator, "measure", measured)
    device = tmp_path / "kvm"
    device.touch()
    trial = try_kvm(installed(tmp_path / "none"), "q35", device)
    assert (trial.cpu, tried) == ("qemu64", ["host", "qemu64"])


def test_kvm_that_fails_with_every_model_says_what_the_first_said(tmp_path: Path) -> None:
    qemu = installed(fake_qemu(tmp_path, "echo 'qemu: Could not access KVM kernel module' >&2; exit 1"))
    device = tmp_path / "kvm"
    device.touch()
    choice = choose_accelerator("auto", qemu, "q35", device)
    assert choice.reason == "TCG: KVM does not run: Could not access KVM kernel module"
    with pytest.raises(MachineError, match="Could not access KVM"):
        choose_accelerator("kvm", qemu, "q35", device)


def test_a_qemu_without_kvm_is_recognised(tmp_path: Path) -> None:
    said = "qemu-system-x86_64: -accel kvm: invalid accelerator kvm"
    qemu = installed(fake_qemu(tmp_path, f"echo '{said}' >&2; exit 1"))
    device = tmp_path / "kvm"
    device.touch()
    assert try_kvm(qemu, "q35", device).refusal == "this QEMU is built without KVM"


def test_kvm_that_hangs_is_given_up_after_one_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerator, "_KVM_SECONDS", 0.3)
    qemu = installed(fake_qemu(tmp_path, f"echo x >>{tmp_path}/runs; sleep 60"))
    device = tmp_path / "kvm"
    device.touch()
    assert try_kvm(qemu, "q35", device).refusal == "KVM does not run: the guest does not start"
    assert (tmp_path / "runs").read_text() == "x\n"


def test_tcg_is_not_measured_beside_kvm_that_no_emulator_reaches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def measured(_qemu: Installation, _type: str, options: tuple[str, ...], _seconds: float) -> Speed:
        tried.append(options[1])
        return Speed(6e9, 1e-6)

    monkeypatch.setattr(accelerator, "measure", measured)
    device = tmp_path / "kvm"
    device.touch()
    assert choose_accelerator("auto", installed(tmp_path / "none"), "q35", device).name == "kvm"
    assert tried == ["kvm"]


def test_tcg_that_does_not_run_says_why(tmp_path: Path) -> None:
    trial = try_tcg(installed(fake_qemu(tmp_path, "echo 'qemu: no tcg' >&2; exit 1")), "q35")
    assert not trial.runs
    assert trial.refusal == "TCG does not run: no tcg"


def test_tcg_runs_here(qemu: Installation) -> None:
    trial = try_tcg(qemu, "q35")
    assert trial.runs, trial.refusal


@pytest.mark.skipif(not os.access(KVM_DEVICE, os.R_OK | os.W_OK), reason=f"no access to {KVM_DEVICE}")
def test_kvm_here_is_tried_and_auto_takes_the_faster(qemu: Installation) -> None:
    choice = choose_accelerator("auto", qemu, "q35")
    assert choice.name in ("tcg", "kvm")
    assert choice.reason.startswith(("KVM (", "TCG: KVM "))
