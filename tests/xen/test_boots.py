# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's kernels boot in domUs of type PVH through EFI, whose environment is in dom0, to user space."""

from __future__ import annotations

import re

import pytest

from pvefi.probe.facts import ProbeFacts
from pvefi.probe.lines import probe_boots
from pvefi.probe.reading import read_facts
from pvefi.spec.linux.boot_params import BootParams
from tests.conftest import RealFiles
from tests.qemu_boots.test_entries import EFI_LOADER, keeps_variables
from tests.xen.boots import Booted, Boots, domains, wait_until
from tests.xen.conftest import require_mib
from xen_jobs import Dom0

WORDS = "facts,log,efivars,poweroff"
LINES_OF_XEN = (
    "Hypervisor detected: Xen HVM",
    r"Booting (paravirtualized )?kernel on Xen PVH",
    r".*console \[hvc0\] enabled",
    r"xen:grant_table: Grant tables using version \d layout",
    "xen:balloon: Initialising balloon driver",
    "Registered efivars operations",
)
"""What Linux says of Xen, of its console and devices, and of runtime services; regular expressions."""


def ends_well(booted: Booted) -> ProbeFacts:
    assert booted.outcome == "powered off", booted.end
    assert booted.end.status == 0
    facts = booted.facts
    assert facts.boot.end == "poweroff"
    return facts


def lines(facts: ProbeFacts) -> list[str]:
    assert facts.log
    return [message.text for message in facts.log]


@pytest.mark.parametrize(
    ("kernel", "cpus", "memory"), [("cloud", 1, 128), ("amd64", 1, 2048), ("cloud", 4, 256)]
)
def test_a_debian_kernel_reaches_user_space_as_a_xen_guest_with_efi(
    dom0: Dom0, boots: Boots, corpus: RealFiles, kernel: str, cpus: int, memory: int
) -> None:
    require_mib(memory + 1024)
    facts = ends_well(boots(dom0, kernel, WORDS, cpus=cpus, memory=memory))
    system = facts.system
    assert system
    release = corpus.kernel(kernel).name.removeprefix("vmlinuz-")
    assert system.version.startswith(f"Linux version {release} ")
    assert system.cpus_online == ("0" if cpus == 1 else f"0-{cpus - 1}")
    assert memory * 0.6 < system.memory_size / (1 << 20) < memory
    assert system.hypervisor == "xen"
    assert {"APIC", "DSDT", "FACP"} <= set(system.acpi_tables)
    log = lines(facts)
    for line in LINES_OF_XEN:
        assert any(re.match(line, one) for one in log), (line, log)
    assert facts.efi
    assert facts.efi.present
    assert facts.efi.platform_size == 64
    assert BootParams.unpack(facts.zero_page or b"").hdr.type_of_loader == EFI_LOADER
    assert any(re.fullmatch("efi: EFI v2.100? by pvefi", one) for one in log)
    keeps_variables(facts.variables)
    assert domains(dom0) == []


def test_every_entry_of_a_kernel_leads_to_user_space(dom0: Dom0, boots: Boots) -> None:
    booted = boots(dom0, "cloud", "hold", entry="all")
    found = {boot["entry"]: boot["verdict"]["outcome"] for boot in booted.document["boots"]}
    entries = ("efi", "efi-handover", "linux64", "linux32", "pvh", "xen-pv")
    assert set(entries) <= set(found)
    assert set(found.values()) == {"user space"}
    assert booted.end.status == 0
    assert domains(dom0) == []


@pytest.mark.parametrize(("entry", "hypervisor"), [("pvh", "Xen HVM"), ("xen-pv", "Xen PV")])
def test_the_kernel_s_own_xen_entries_lead_there_too_and_have_no_efi(
    dom0: Dom0, boots: Boots, entry: str, hypervisor: str
) -> None:
    facts = ends_well(boots(dom0, "cloud", "system,efi,log,poweroff", entry=entry))
    assert f"Hypervisor detected: {hypervisor}" in lines(facts)
    assert facts.efi
    assert not facts.efi.present
    assert domains(dom0) == []


def test_with_the_minimal_profile_pvefi_lets_go_of_the_guest_at_exit_boot_services(
    dom0: Dom0, boots: Boots
) -> None:
    job = boots.start(dom0, "cloud", "efi,hold", profile="minimal", arguments="quiet efi=noruntime")
    wait_until(job, lambda text: b"PVEFI-PROBE end hold" in text)
    (name,) = domains(dom0)
    domid = dom0.done(["xl", "domid", name]).strip()
    dom0.done(["xl", "pause", name])
    ports = dom0.done(["lsevtchn", domid])
    dom0.done(["xl", "unpause", name])
    # xenstore and the console are all that is left of what dom0 has open with it.
    assert ports.count("Interdomain") == 2, ports
    job.signal(15)
    assert job.wait().status == 143
    assert domains(dom0) == []


def test_several_guests_boot_at_once_each_with_variables_of_its_own(dom0: Dom0, boots: Boots) -> None:
    jobs = [boots.start(dom0, "cloud", "efivars,poweroff") for _ in range(3)]
    for job in jobs:
        keeps_variables(ends_well(Booted(job.wait())).variables)
    assert domains(dom0) == []


def test_a_configuration_of_the_user_s_is_booted_through_efi_and_its_name_is_taken_once(
    dom0: Dom0, boots: Boots, corpus: RealFiles
) -> None:
    kernel = dom0.give(corpus.kernel("cloud"))
    initrd = boots.initrd(dom0, "cloud", (), {})
    (dom0.folder / "mine.cfg").write_text(
        f'name = "mine"\nkernel = "{kernel}"\nramdisk = "{initrd}"\nmemory = 192\nvcpus = 2\n'
        'cmdline = "console=hvc0 quiet probe=system,efi,hold"\ntsc_mode = "native"\n'
    )
    job = dom0.pvefi("boot", "--json", "--xl-config", "/host/mine.cfg")
    text = wait_until(job, lambda text: b"PVEFI-PROBE end hold" in text)
    assert domains(dom0) == ["mine"]
    second = dom0.pvefi("boot", "--json", "--xl-config", "/host/mine.cfg").wait()
    assert (second.status, second.errors.count("\n")) == (2, 1), second
    job.signal(15)
    assert job.wait().status == 143
    assert domains(dom0) == []
    (one,) = probe_boots(text)
    facts = read_facts(one)
    assert facts.efi
    assert facts.efi.present
    assert facts.system
    assert (facts.system.command_line, facts.system.cpus_online) == (
        "console=hvc0 quiet probe=system,efi,hold",
        "0-1",
    )
