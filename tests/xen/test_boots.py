# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's kernels boot in domUs of type PVH through EFI, whose environment is in dom0, to user space."""

from __future__ import annotations

import re
import time

import pytest

from pvefi.probe.facts import ProbeFacts
from pvefi.probe.initrd import script_files
from pvefi.probe.lines import probe_boots
from pvefi.probe.modules import read_module
from pvefi.probe.reading import read_facts
from pvefi.spec.linux.boot_params import BootParams
from tests.conftest import RealFiles
from tests.qemu_boots.test_entries import EFI_LOADER, keeps_variables
from tests.xen.boots import HELD, SECONDS, UP, Booted, Boots, console_of, domains, wait_until
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


MORE = (("amd64", 1, 2048), ("cloud", 2, 512))
ENTRIES = ("efi", "efi-handover", "linux64", "linux32", "kexec", "xen-pvh", "xen-pv")


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
    ("kernel", "cpus", "memory"),
    [("cloud", 1, 128), ("amd64", 4, 512), *(pytest.param(*row, marks=pytest.mark.full) for row in MORE)],
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


@pytest.mark.full
def test_every_entry_of_a_kernel_leads_to_user_space(dom0: Dom0, boots: Boots) -> None:
    booted = boots(dom0, "cloud", "hold", entry="all", boots=len(ENTRIES))
    found = {boot["entry"]: boot["verdict"]["outcome"] for boot in booted.document["boots"]}
    assert found == dict.fromkeys(ENTRIES, "user space")
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
    script = {"wait": "sleep 15"}
    job = boots.start(
        dom0, "cloud", "script,hold", profile="minimal", arguments="quiet efi=noruntime", script=script
    )
    wait_until(job, lambda text: UP in text)
    (name,) = domains(dom0)
    domid = dom0.done(["xl", "domid", name]).strip()
    dom0.done(["xl", "pause", name])
    ports = dom0.done(["lsevtchn", domid])
    dom0.done(["xl", "unpause", name])
    # xenstore and the console are all that is left of what dom0 has open with it.
    assert ports.count("Interdomain") == 2, ports
    job.signal(9)
    assert job.wait().status == -9
    before = console_of(dom0, name)
    assert HELD not in before
    end = time.monotonic() + SECONDS
    while HELD not in console_of(dom0, name):
        assert time.monotonic() < end
        time.sleep(1)
    dom0.done(["xl", "destroy", name])
    assert domains(dom0) == []


@pytest.mark.full
def test_several_guests_boot_at_once_each_with_variables_of_its_own(dom0: Dom0, boots: Boots) -> None:
    # Each with a supervisor of its own, as users have it: those with pvefi loaded have one for all.
    jobs = [boots.start(dom0, "cloud", "efivars,poweroff", preloaded=False) for _ in range(3)]
    for job in jobs:
        keeps_variables(ends_well(Booted(job.wait())).variables)
    assert domains(dom0) == []


def test_a_configuration_of_the_user_s_is_booted_through_efi_with_its_devices_and_its_name_is_taken_once(
    dom0: Dom0, boots: Boots, corpus: RealFiles
) -> None:
    kernel = dom0.give(corpus.kernel("cloud"))
    module = read_module(path := corpus.file("cloud-xen-modules"), path.read_bytes())
    script = {
        "devices": "ls /sys/bus/xen/devices",
        "disk": "insmod /xen-blkfront.ko; until [ -b /dev/xvda ]; do sleep 1; done; head -c 5 /dev/xvda",
        "write": "printf wrote >/dev/xvda && sync",
    }
    files = {**script_files(script), "xen-blkfront.ko": module.data}
    initrd = boots.initrd(dom0, "cloud", (), files)
    (dom0.folder / "mine.cfg").write_text(
        f'name = "mine"\ntype = "pvh"\nkernel = "{kernel}"\nramdisk = "{initrd}"\nmemory = 192\nvcpus = 2\n'
        'cmdline = "console=hvc0 quiet probe=system,efi,script,hold"\ntsc_mode = "native"\n'
        'disk = ["format=raw, vdev=xvda, access=rw, target=/run/disk"]\nvif = ["script=/bin/true"]\n'
    )
    dom0.done("head -c 1048576 /dev/zero >/run/disk && printf there | dd of=/run/disk conv=notrunc")
    job = dom0.pvefi("boot", "--json", "--xl-config", "/host/mine.cfg", seconds=SECONDS)
    text = wait_until(job, lambda text: HELD in text)
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
    assert facts.system.cpus_online == "0-1"
    assert b"vif-0\n" in facts.script["devices"].output
    assert facts.script["disk"].output == b"there"
    assert facts.script["write"].status == 0
    assert dom0.done("head -c 5 /run/disk") == "wrote"
