# SPDX-License-Identifier: GPL-2.0-or-later
"""The report of `pvefi doctor` on hosts of all kinds."""

from __future__ import annotations

from dataclasses import replace

from pvefi.machines.qemu.accelerator import Trial
from pvefi.machines.survey import QemuSurvey
from pvefi.report.doctor import Findings, doctor_lines
from pvefi.report.doctor_json import doctor_to_json
from tests.report.findings import EMBEDDED, FINDINGS, HOST, QEMU, TCG, XEN


def text(found: Findings, width: int | None = 80) -> str:
    return "\n".join(line.plain for line in doctor_lines(found, width))


def test_a_host_where_all_works() -> None:
    assert text(FINDINGS) == (
        "embedded: works\n"
        "  unicorn       2.1.4\n"
        "  tried         its guest rang the first doorbell after 0.10 s\n"
        "\n"
        "qemu: works\n"
        "  program       /usr/bin/qemu-system-x86_64\n"
        "                7.2.22 (Debian)\n"
        "  q35           a guest ran\n"
        "  microvm       not here: this QEMU is built without it\n"
        "  --accel auto  TCG: KVM runs, but 700 times slower than TCG\n"
        "  KVM           1.4 million instructions a second; 9.0 us a port read; -cpu host\n"
        "  TCG           1.0 billion instructions a second; 0.1 us a port read; -cpu max\n"
        "  firmware      bios-256k.bin: /usr/share/seabios/bios-256k.bin\n"
        "                bios-microvm.bin: not found\n"
        "  OVMF          /usr/share/OVMF/OVMF_CODE_4M.fd\n"
        "                /usr/share/OVMF/OVMF_VARS_4M.fd\n"
        "\n"
        "xen: not here: this host does not run on Xen\n"
        "  dom0          this host does not run on Xen\n"
        "  libraries     none of 1\n"
        "\n"
        "host\n"
        "  system        Debian, Linux 6.1, x86_64\n"
        "  processor     A CPU, 2 cores\n"
        f"  memory        4 GiB, 3 GiB available\n"
        f"  pvefi         {doctor_to_json(FINDINGS)['pvefi']}, Python 3.11.2"
    )


def test_what_is_missing_has_its_way_out_at_the_end() -> None:
    none = QemuSurvey(False, "no QEMU found", "apt-get install qemu-system-x86")
    told = text(replace(FINDINGS, qemu=none))
    assert "qemu: not here: no QEMU found\n\nxen:" in told
    assert told.endswith("\n\nto get more\n  qemu          apt-get install qemu-system-x86")


def test_kvm_and_ovmf_have_ways_out_of_their_own() -> None:
    kvm = Trial("kvm", refusal="no permission to open /dev/kvm", way_out="as root: usermod -aG kvm USER")
    lacking = replace(QEMU, trials=(kvm, TCG), ovmf=None, ovmf_problem="no OVMF", ovmf_way_out="get it")
    told = text(replace(FINDINGS, qemu=lacking))
    assert "  KVM           no permission to open /dev/kvm\n" in told
    assert "  OVMF          no OVMF\n" in told
    assert told.endswith("  KVM           as root: usermod -aG kvm USER\n  OVMF          get it")


def test_xen_s_libraries_are_named_where_some_are_missing() -> None:
    some = replace(XEN, on_xen=True, control_domain=True, libraries=(("a.so", True), ("b.so", False)))
    told = text(replace(FINDINGS, xen=some))
    assert "  dom0          this host is the control domain\n  libraries     a.so of 2\n" in told
    assert "                not found: b.so\n" in told
    assert text(replace(FINDINGS, xen=replace(some, way_out="get it"))).endswith("  xen           get it")
    assert "a guest of Xen, without control" in text(replace(FINDINGS, xen=replace(XEN, on_xen=True)))


def test_lines_fit_80_columns_and_nothing_steers_a_terminal() -> None:
    wild = replace(QEMU, works=False, problem="\x1b[2J" + "long words " * 20)
    told = text(replace(FINDINGS, qemu=wild), 80)
    assert "\x1b" not in told
    assert max(len(line) for line in told.splitlines() if not line.startswith("qemu:")) <= 80


def test_a_host_works_with_any_machine() -> None:
    broken = replace(EMBEDDED, works=False)
    assert replace(FINDINGS, embedded=broken).any_works
    assert not replace(FINDINGS, embedded=broken, qemu=replace(QEMU, works=False)).any_works


def test_the_document_has_null_for_what_is_not_known() -> None:
    machines = doctor_to_json(Findings(EMBEDDED, QemuSurvey(False, "none"), XEN, HOST))["machines"]
    assert isinstance(machines, dict)
    qemu = machines["qemu"]
    assert isinstance(qemu, dict)
    assert (qemu["works"], qemu["problem"], qemu["program"], qemu["choice"]) == (False, "none", None, None)
    assert qemu["accelerators"] == []
