# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's kernels reach user space through every entry on each machine of QEMU, with all they were given."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from pvefi.probe.facts import ProbeFacts, VariableFacts
from pvefi.probe.messages import efi_warnings
from pvefi.spec.linux.boot_params import BootParams
from pvefi.spec.linux.setup_header import LoaderType
from pvefi.verdict import Outcome
from tests.conftest import RealFiles
from tests.qemu_boots.conftest import MIB, Booted, Boots

KERNELS = ("cloud", "amd64", "cloud-6.12")
ENTRIES = ("efi", "efi-handover", "linux64", "linux32", "pvh", "kexec")
MACHINES = ("q35", "pc", "microvm")
EFI_LOADER = 0x21
"""Linux drivers/firmware/efi/libstub/x86-stub.c, efi_pe_entry."""
RUNTIME_SERVICES = (5, 6)
PVH_LOADER = LoaderType.QEMU << 4
WORDS = "facts,log,efivars,poweroff"


def every_case() -> list[object]:
    """Return all combinations; those that no pair of two parameters needs are `full`."""
    cases: list[object] = []
    for (a, kernel), (b, entry), (c, machine) in itertools.product(
        *map(enumerate, (KERNELS, ENTRIES, MACHINES))
    ):
        marks = () if (a + b + c) % 3 == 0 else (pytest.mark.full,)
        cases.append(pytest.param(kernel, entry, machine, marks=marks, id=f"{kernel}-{entry}-{machine}"))
    return cases


def ends_well(booted: Booted) -> ProbeFacts:
    assert booted.result.verdict.outcome is Outcome.POWERED_OFF, booted.result.verdict
    facts = booted.facts
    assert facts.boot.end == "poweroff"
    return facts


def keeps_variables(variables: VariableFacts | None) -> None:
    assert variables
    assert variables.mounted, variables.problems
    value = {step.name: step.value for step in variables.steps}
    assert (value["create"], value["overwrite"]) == (b"first", b"second, longer")
    assert value["append"] == b"second, longer, extended"
    assert (value["delete"], value["delete-by-attributes"], value["delete-large"]) == (None, None, None)
    assert value["create-large"] == b"".join(b"%010d" % number for number in range(300))
    # UEFI 2.10 §8.2.3: no new volatile variables after ExitBootServices.
    assert [step.name for step in variables.steps if not step.done] == ["create-volatile"]
    assert {step.attributes for step in variables.steps if step.value} == {7}
    assert variables.left == ()


@pytest.mark.parametrize(("kernel", "entry", "machine"), every_case())
def test_a_debian_kernel_reaches_user_space_with_all_that_it_was_given(
    boots: Boots, corpus: RealFiles, kernel: str, entry: str, machine: str
) -> None:
    booted = boots(kernel, WORDS, entry=entry, machine=machine)
    facts = ends_well(booted)
    system = facts.system
    assert system
    release = corpus.kernel(kernel).name.removeprefix("vmlinuz-")
    assert system.version.startswith(f"Linux version {release} ")
    assert system.command_line == booted.result.command_line
    assert system.command_line.endswith(f"console=ttyS0 panic=-1  probe={WORDS}")
    assert system.cpus_online == "0"
    assert 440 * MIB < system.memory_size < 512 * MIB
    assert {"APIC", "DSDT", "FACP"} <= set(system.acpi_tables)
    assert system.hypervisor is None
    assert system.tainted == 0
    efi = entry in ("efi", "efi-handover", "kexec")
    assert facts.efi
    assert facts.efi.present is efi
    check_zero_page(corpus.probe(kernel), entry, facts)
    assert facts.log
    assert efi_warnings(facts.log) == ()
    # 6.1 prints the number of UEFI 2.10 as 2.100.
    assert any(re.fullmatch("efi: EFI v2.100? by pvefi", message.text) for message in facts.log) is efi
    if not efi:
        assert facts.variables
        assert not facts.variables.mounted
        assert facts.efi.runtime_map == ()
        return
    keeps_variables(facts.variables)
    # By kexec too. Of an entry that it does not take it would have warned: drivers/firmware/efi/memattr.c.
    assert any(re.search(r"^efi: .*\bMEMATTR=0x", message.text) for message in facts.log)
    assert facts.efi.platform_size == 64
    assert ("ACPI20" if machine == "microvm" else "ACPI") in facts.efi.system_tables
    assert {one.type for one in facts.efi.runtime_map} == set(RUNTIME_SERVICES)


def check_zero_page(initrd: Path, entry: str, facts: ProbeFacts) -> None:
    assert facts.zero_page
    params = BootParams.unpack(facts.zero_page)
    loader = params.hdr.type_of_loader
    if entry == "efi":
        assert loader == EFI_LOADER
    else:
        others = {"pvh": PVH_LOADER, "kexec": LoaderType.KEXEC << 4}
        assert loader == others.get(entry, LoaderType.UNDEFINED << 4 | 0xF)
    assert params.ramdisk_size == initrd.stat().st_size
    assert params.ramdisk_address % 4096 == 0
    assert any(
        part.addr <= params.ramdisk_address
        and params.ramdisk_address + params.ramdisk_size <= part.addr + part.size
        for part in params.memory_map
        if part.type == 1
    )
    assert facts.memory_map
    ram = [(one.start, one.end + 1) for one in facts.memory_map if one.type == "System RAM"]
    assert 510 * MIB < sum(end - start for start, end in ram) < 512 * MIB
    ends = [(one.start, one.end) for one in facts.memory_map]
    assert all(start < end for start, end in ends)
    assert all(before[1] < after[0] for before, after in itertools.pairwise(ends))


FOREIGN = [
    *(("qemu-linux", "auto", machine) for machine in MACHINES),
    *(("qemu-pvh", "auto", machine) for machine in MACHINES),
    *(("efi", "ovmf", machine) for machine in ("q35", "pc")),
]


@pytest.mark.parametrize(
    ("entry", "firmware", "machine"),
    [
        pytest.param(*case, marks=() if case in {FOREIGN[0], FOREIGN[5]} else (pytest.mark.full,))
        for case in FOREIGN
    ],
)
def test_a_kernel_reaches_user_space_by_other_means_too(
    boots: Boots, entry: str, firmware: str, machine: str
) -> None:
    facts = ends_well(boots("cloud", "system,efi,poweroff", entry=entry, firmware=firmware, machine=machine))
    assert facts.efi
    assert facts.efi.present is (firmware == "ovmf")
