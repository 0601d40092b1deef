# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest is made of reaches user space: memory about and above 4 GiB, CPUs, disks, levels of paging."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from pvefi.probe.facts import SystemFacts
from pvefi.verdict import Outcome
from tests.qemu_boots.conftest import MIB, Boots
from tests.qemu_boots.test_entries import ends_well, keeps_variables

FOUR_GIB = 4096 * MIB
SPLIT = {"q35": 2048 * MIB, "pc": 3072 * MIB, "microvm": 3072 * MIB}
"""Where RAM ends below 4 GiB once there is more of it than that; q35 does it from 2,816 MiB up."""


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """Return a disk of 3 MiB with one partition of 1 MiB."""
    path = tmp_path / "disk, with a comma"
    entry = struct.pack("<4xB3xII", 0x83, 2048, 2048)
    path.write_bytes((bytes(446) + entry + bytes(48) + b"\x55\xaa").ljust(3 * MIB, b"\0"))
    return path


def has_five_levels_of_paging(system: SystemFacts) -> bool:
    """Whether the kernel uses five: Linux arch/x86/kernel/cpu/common.c clears the flag where it has four."""
    flags = next(line for line in system.cpu if line.startswith("flags"))
    return "la57" in flags.split()


@pytest.mark.parametrize("machine", SPLIT)
def test_a_large_guest_uses_all_that_it_has(boots: Boots, disk: Path, machine: str) -> None:
    words = "devices,facts,log,efivars,parallel,poweroff"
    facts = ends_well(boots("cloud", words, machine=machine, memory=6144, cpus=4, disks=(disk,)))
    keeps_variables(facts.variables)
    assert facts.parallel
    assert facts.parallel.wrong == (0, 0), facts.parallel.problems
    assert facts.system
    assert facts.system.cpus_online == "0-3"
    assert has_five_levels_of_paging(facts.system)
    assert 5800 * MIB < facts.system.memory_size < 6144 * MIB
    assert facts.memory_map
    high = [one for one in facts.memory_map if one.type == "System RAM" and one.start >= FOUR_GIB]
    assert [(one.start, one.end + 1) for one in high] == [(FOUR_GIB, FOUR_GIB + 6144 * MIB - SPLIT[machine])]
    assert facts.blocks
    assert [(block.name, block.size) for block in facts.blocks] == [("vda", 3 * MIB)]
    assert facts.log
    assert any(message.text.strip() == "vda: vda1" for message in facts.log)  # what stands on it was read


@pytest.mark.parametrize(
    ("machine", "memory"),
    [
        ("q35", 2816),
        *(
            pytest.param(machine, memory, marks=pytest.mark.full)
            for machine in SPLIT
            for memory in (2815, 2816, 3072, 5120)
            if (machine, memory) != ("q35", 2816)
        ),
    ],
)
def test_memory_about_the_hole_below_4_gib_is_used(boots: Boots, machine: str, memory: int) -> None:
    """With four levels of paging, where a large guest has five."""
    words = "system,memmap,efivars,poweroff"
    facts = ends_well(boots("cloud", words, machine=machine, memory=memory, arguments="no5lvl"))
    keeps_variables(facts.variables)
    assert facts.memory_map
    high = sum(
        one.end + 1 - one.start
        for one in facts.memory_map
        if one.type == "System RAM" and one.start >= FOUR_GIB
    )
    splits = memory * MIB > SPLIT[machine] and (machine != "q35" or memory >= 2816)
    assert high == (memory * MIB - SPLIT[machine] if splits else 0)
    assert facts.system
    assert not has_five_levels_of_paging(facts.system)
    assert 0.94 < facts.system.memory_size / (memory * MIB) < 1


@pytest.mark.parametrize("machine", SPLIT)
def test_a_guest_that_resets_starts_anew_and_keeps_its_variables(boots: Boots, machine: str) -> None:
    ended = b"PVEFI-PROBE end reboot"
    booted = boots("cloud", "count,reboot", machine=machine, until=lambda text: text.count(ended) == 2)
    assert booted.result.verdict.outcome is Outcome.LEFT
    assert booted.result.restarts == 1
    assert [facts.count.before for facts in booted.boots if facts.count] == [0, 1]
