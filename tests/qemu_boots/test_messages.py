# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel warns of nothing new compared with OVMF, and loses no more memory to EFI than it must."""

from __future__ import annotations

import re

import pytest

from pvefi.probe.facts import ProbeFacts
from pvefi.probe.messages import WARNING, efi_warnings, normalised
from tests.qemu_boots.conftest import MIB, Boots
from tests.qemu_boots.test_entries import KERNELS, RUNTIME_SERVICES, ends_well

ON_TIME = re.compile(r"tsc|clocksource|APIC calibration|hrtimer|sched|rcu|cs_nsec|jiffies", re.IGNORECASE)
"""What a busy host has a kernel say."""
PAGE = 4096
KIB = 1024


def warnings(facts: ProbeFacts) -> set[str]:
    assert facts.log
    return {
        normalised(message.text)
        for message in facts.log
        if message.level <= WARNING and not ON_TIME.search(message.text)
    }


@pytest.fixture(
    scope="module",
    params=[name if name == "cloud-6.12" else pytest.param(name, marks=pytest.mark.full) for name in KERNELS],
)
def kernel(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def ours(boots: Boots, kernel: str) -> ProbeFacts:
    return ends_well(boots(kernel, "log,efi,memmap,efivars,poweroff"))


def test_no_kernel_warns_of_what_it_does_not_mind_under_ovmf(
    boots: Boots, kernel: str, ours: ProbeFacts
) -> None:
    theirs = ends_well(boots(kernel, "log,efi,memmap,efivars,poweroff", firmware="ovmf"))
    assert ours.log
    assert theirs.log
    assert set(efi_warnings(ours.log)) <= set(efi_warnings(theirs.log))
    assert warnings(ours) - warnings(theirs) == set()


def lost(facts: ProbeFacts) -> list[tuple[str, int]]:
    """Return kind and size of each piece of RAM above 1 MiB that is no RAM for the kernel."""
    assert facts.memory_map
    pieces = [one for one in facts.memory_map if 1 * MIB <= one.start < 512 * MIB]
    return [(one.type, one.end + 1 - one.start) for one in pieces if one.type != "System RAM"]


@pytest.mark.parametrize("machine", ["q35", "microvm"])
def test_the_minimal_profile_leaves_nothing_behind_but_what_the_kernel_asked_for(
    boots: Boots, machine: str
) -> None:
    facts = ends_well(boots("cloud", "efi,memmap,poweroff", profile="minimal", machine=machine))
    assert facts.efi
    assert not {one.type for one in facts.efi.runtime_map} & set(RUNTIME_SERVICES)
    # The stub itself has the table on its initrd in memory that is to be reclaimed and never is.
    assert lost(facts) == [("ACPI Tables", PAGE)]


def test_runtime_services_take_no_more_than_64_kib(ours: ProbeFacts) -> None:
    assert ours.efi
    runtime = [one for one in ours.efi.runtime_map if one.type in RUNTIME_SERVICES]
    assert sum(one.pages for one in runtime) * PAGE == 56 * KIB
    assert sum(size for _, size in lost(ours)) <= 64 * KIB
