# SPDX-License-Identifier: GPL-2.0-or-later
"""What `pvefi doctor` finds out on a made host."""

from __future__ import annotations

from pathlib import Path

from pvefi.machines.qemu.accelerator import Accelerator, Trial
from pvefi.machines.qemu.installation import Installation, Version
from pvefi.machines.qemu.ovmf import Ovmf
from pvefi.machines.qemu.speed import Speed
from pvefi.machines.survey import EmbeddedSurvey, Host, QemuSurvey, TypeTrial, XenSurvey
from pvefi.report.doctor import Findings

EMBEDDED = EmbeddedSurvey(True, unicorn_version="2.1.4", seconds=0.1)
KVM = Trial("kvm", "host", Speed(1.4e6, 9e-6))
TCG = Trial("tcg", "max", Speed(1.02e9, 0.0))
QEMU = QemuSurvey(
    True,
    qemu=Installation(Path("/usr/bin/qemu-system-x86_64"), Version(7, 2, 22), "7.2.22 (Debian)"),
    built_in=("kvm", "tcg"),
    trials=(KVM, TCG),
    choice=Accelerator("tcg", "max", "TCG: KVM runs, but 700 times slower than TCG"),
    machine_types=(TypeTrial("q35", True), TypeTrial("microvm", False, "this QEMU is built without it")),
    firmware=(("bios-256k.bin", Path("/usr/share/seabios/bios-256k.bin")), ("bios-microvm.bin", None)),
    ovmf=Ovmf(Path("/usr/share/OVMF/OVMF_CODE_4M.fd"), Path("/usr/share/OVMF/OVMF_VARS_4M.fd")),
)
XEN = XenSurvey(
    False, "this host does not run on Xen", "boot it with Xen", False, False, (("libxen.so.1", False),)
)
HOST = Host("Debian", "Linux 6.1", "x86_64", "3.11.2", "A CPU", 2, 4 << 30, 3 << 30)
FINDINGS = Findings(EMBEDDED, QEMU, XEN, HOST)
