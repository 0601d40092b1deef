# SPDX-License-Identifier: GPL-2.0-or-later
"""The figures of boots in QEMU are made of samples as the documentation says; nothing is booted here."""

from __future__ import annotations

import pytest

from bench.figures import Figure
from bench.qemu_figures import HostSample, QemuSamples, qemu_figures_of, qemu_tables_of
from bench.qemu_once import lasting_memory, round_trips
from pvefi.spec.uefi.memory import MemoryDescriptor, MemoryType
from tests.bench.made import qemu_boot

ROUNDS = (
    (qemu_boot(seconds=1.9), qemu_boot("qemu-linux", 2.0), qemu_boot("ovmf", 5.0)),
    (qemu_boot(seconds=3.6), qemu_boot("qemu-linux", 4.0), qemu_boot("ovmf", 9.0)),
    (qemu_boot(seconds=1.8), qemu_boot("qemu-linux", 2.0)),
)


def by_name(samples: QemuSamples) -> dict[str, Figure]:
    return {figure.name: figure for figure in qemu_figures_of(samples)}


def test_a_ratio_is_of_two_runs_of_one_round() -> None:
    figures = by_name(QemuSamples(rounds=ROUNDS))
    assert figures["efi-against-qemu-linux"].values == pytest.approx((0.95, 0.9, 0.9))
    assert figures["efi-against-ovmf"].values == pytest.approx((0.38, 0.4))


def test_a_reach_of_at_most_is_met_at_its_limit() -> None:
    figures = by_name(QemuSamples(gate_counts=(qemu_boot(status=60),)))
    assert figures["gate-instructions"].met is True
    assert figures["gate-instructions"].reach == "at most 60"
    beyond = by_name(QemuSamples(gate_counts=(qemu_boot(status=61),)))
    assert beyond["gate-instructions"].met is False


def test_instructions_before_the_counter_is_read_count_too() -> None:
    boots = (qemu_boot(status=832), qemu_boot(machine="microvm", status=1560))
    figures = by_name(QemuSamples(start_counts=boots))
    found = [figures[f"instructions-to-image-{machine}"].median for machine in ("q35", "microvm")]
    assert found == [834, 1562]


def test_the_first_doorbell_is_that_of_the_machine_in_question() -> None:
    figures = by_name(QemuSamples(rounds=((qemu_boot(), qemu_boot(machine="microvm")),)))
    assert figures["first-doorbell"].values == (30.0,)


def test_memory_that_stays_is_told_by_profile() -> None:
    boots = (qemu_boot(lasting_memory=56 << 10), qemu_boot(profile="minimal", lasting_memory=0))
    figures = by_name(QemuSamples(lasting=boots))
    assert figures["lasting-memory-linux"].values == (56.0,)
    assert figures["lasting-memory-minimal"].met is True


def test_only_memory_of_runtime_services_stays() -> None:
    kinds = (MemoryType.RUNTIME_SERVICES_CODE, MemoryType.RUNTIME_SERVICES_DATA, MemoryType.LOADER_DATA)
    spans = [MemoryDescriptor(kind, 0, at << 20, 0, 3, 0) for at, kind in enumerate(kinds)]
    assert lasting_memory(spans) == 6 * 4096


def test_a_round_trip_is_from_the_doorbell_to_the_answer_in_the_guest_s_own_time() -> None:
    boot, gate = 0x1000, 3
    rings = [(boot, 0, 0, 0.0), (gate, 1_000_000, 500, 0.001), (gate, 2_000_000, 1_040_000, 0.002)]
    assert round_trips(rings) == pytest.approx([40.0])
    assert round_trips(rings[:1]) == []


def test_a_way_that_was_not_taken_stands_empty_in_the_table() -> None:
    hosts = (HostSample(2.5, 50_000_000, 0.03),)
    tables = qemu_tables_of(QemuSamples(rounds=ROUNDS, hosts=hosts))
    ways, milestones, trips, process = tables
    assert ways.rows[0] == ("efi", "1.90 (1.80 to 3.60)", "-", "-")
    assert ways.rows[1] == ("linux64", "-", "-", "-")
    assert milestones.rows == (("q35", "the quickest", "30", "50", "300", "1,900"),)
    assert trips.rows[0][2] == "50"
    assert process.rows == (("2.50 (2.50 to 2.50)",),)
    assert all(len(row) == len(table.head) for table in tables for row in table.rows)
