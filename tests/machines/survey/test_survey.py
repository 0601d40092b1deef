# SPDX-License-Identifier: GPL-2.0-or-later
"""What is found out of a host: each machine tried, and each failure told instead of raised."""

from __future__ import annotations

from pathlib import Path

import pytest

from pvefi.errors import MachineError
from pvefi.machines.qemu.accelerator import Trial
from pvefi.machines.qemu.installation import Installation
from pvefi.machines.qemu.speed import Speed
from pvefi.machines.stop import Halted
from pvefi.machines.survey import embedded, survey_embedded, survey_host, survey_qemu, survey_xen
from pvefi.machines.survey import qemu as qemu_module
from tests.conftest import Tool
from tests.machines.qemu.made import fake_qemu

TWO_MACHINES = """
case "$1 $2" in
"-machine help") printf 'Supported machines are:\\nq35  PC\\npc  PC\\n';;
"-accel help") printf 'Accelerators supported in QEMU binary:\\ntcg\\n';;
"-L help") ;;
*) echo 'qemu: no luck' >&2; exit 1;;
esac
"""


def test_the_embedded_machine_is_started_to_its_first_doorbell() -> None:
    survey = survey_embedded()
    assert survey.works, survey.problem
    assert survey.unicorn_version.startswith("2.")
    assert survey.seconds is not None
    assert 0 < survey.seconds < 20


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (MachineError("no memory", "less"), "no memory"),
        (OSError(12, "Cannot allocate memory"), "OSError: [Errno 12] Cannot allocate memory"),
        (RuntimeError("unicorn's own"), "RuntimeError: unicorn's own"),
    ],
    ids=str,
)
def test_an_embedded_machine_that_fails_is_told(
    monkeypatch: pytest.MonkeyPatch, error: Exception, problem: str
) -> None:
    def fail() -> object:
        raise error

    monkeypatch.setattr(embedded, "_first_doorbell", fail)
    survey = survey_embedded()
    assert (survey.works, survey.problem, survey.seconds) == (False, problem, None)
    assert survey.way_out


def test_an_embedded_guest_that_never_rings_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_first_doorbell", lambda: Halted(0x1000))
    assert survey_embedded().problem.startswith("its guest ended otherwise than told: Halted(")


def test_the_real_qemu_is_tried_on_every_machine(tool: Tool) -> None:
    survey = survey_qemu(tool("qemu-system-x86_64"))
    assert survey.works, survey.problem
    assert [(trial.name, trial.works) for trial in survey.machine_types][:2] == [("q35", True), ("pc", True)]
    assert [trial.name for trial in survey.trials] == ["kvm", "tcg"]
    assert survey.choice is not None
    assert dict(survey.firmware)["bios-256k.bin"] is not None


def test_a_qemu_on_which_no_guest_runs_does_not_work(tmp_path: Path) -> None:
    survey = survey_qemu(str(fake_qemu(tmp_path, TWO_MACHINES)))
    assert not survey.works
    assert survey.problem == "no guest runs: TCG does not run: no luck"
    assert [trial.problem for trial in survey.machine_types] == [
        "no accelerator runs",
        "no accelerator runs",
        "this QEMU is built without it",
    ]
    assert survey.trials[0].refusal == "this QEMU is built without KVM"
    assert survey.choice is None


def test_machines_that_fail_are_told_apart_from_those_that_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(_qemu: Installation, name: str, *_: object) -> None:
        if name == "pc":
            raise MachineError("no chipset")

    trial = Trial("tcg", "max", Speed(1e9, 1e-7))
    monkeypatch.setattr(qemu_module, "try_tcg", lambda *_: trial)
    monkeypatch.setattr(qemu_module, "measure", measured)
    survey = survey_qemu(str(fake_qemu(tmp_path, TWO_MACHINES)))
    assert survey.works
    assert [(one.name, one.works, one.problem) for one in survey.machine_types] == [
        ("q35", True, ""),
        ("pc", False, "no chipset"),
        ("microvm", False, "this QEMU is built without it"),
    ]


def test_a_qemu_for_another_cpu_is_told(tmp_path: Path) -> None:
    survey = survey_qemu(str(fake_qemu(tmp_path, "printf 'Supported machines are:\\nvirt  ARM\\n'")))
    assert not survey.works
    assert survey.problem.endswith("has none of the machines q35, pc, microvm: it is not for x86-64")
    assert survey.qemu is not None


def test_no_qemu_has_a_way_out(tmp_path: Path) -> None:
    survey = survey_qemu(f"{tmp_path}/none")
    assert (survey.works, survey.qemu) == (False, None)
    assert survey.problem == f"{tmp_path}/none: there is no such file"
    assert survey.way_out


@pytest.mark.parametrize(
    ("capabilities", "kind", "expected"),
    [("control_d\n", "xen\n", (True, True)), ("\n", "xen\n", (True, False)), (None, None, (False, False))],
)
def test_dom0_is_told_from_other_guests_of_xen(
    tmp_path: Path, capabilities: str | None, kind: str | None, expected: tuple[bool, bool]
) -> None:
    for name, text in (("proc/xen/capabilities", capabilities), ("sys/hypervisor/type", kind)):
        if text is not None:
            (tmp_path / name).parent.mkdir(parents=True)
            (tmp_path / name).write_text(text)
    survey = survey_xen(tmp_path)
    assert (survey.on_xen, survey.control_domain) == expected
    assert not survey.works


def test_the_host_s_facts_are_read(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal:  2048 kB\nMemFree: 1 kB\nMemAvailable:\t 1024 kB\n")
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: A CPU\n\nmodel name\t: Another\n")
    host = survey_host(tmp_path)
    assert (host.memory_size, host.memory_available) == (2 << 20, 1 << 20)
    assert host.processor == "A CPU"
    assert host.cores >= 1


def test_a_host_that_tells_nothing_is_described_too(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: lots\n")
    host = survey_host(tmp_path)
    assert (host.memory_size, host.processor) == (0, host.architecture)
