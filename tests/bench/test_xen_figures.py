# SPDX-License-Identifier: GPL-2.0-or-later
"""The figures of domains on Xen are made of samples as documented; the guests are what they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import xen_rings
from bench.figures import Figure
from bench.xen_figures import (
    ProcessSample,
    RingSample,
    XenBoot,
    XenSamples,
    xen_figures_of,
    xen_tables_of,
)
from bench.xen_programs import BARE_PORT, BLOCK, build_bare, build_ringer
from pvefi.guest.mailbox import DOORBELL_PORT
from pvefi.image import EntryKind, inspect
from tests.conftest import Tool

MIB = 1 << 20


def boot(entry: str, seconds: float) -> XenBoot:
    return XenBoot(entry, {"user space": seconds}, 0.5)


def process(domains: int, resident: int, switches: int = 0) -> ProcessSample:
    return ProcessSample(domains, resident, resident // 2, 0.0, switches, 10.0, 40)


SAMPLES = XenSamples(
    rounds=((boot("efi", 6.0), boot("xen-pvh", 5.0)), (boot("efi", 6.6), boot("xen-pvh", 5.5))),
    rings=(
        RingSample(90.0, 200.0, 180.0, 300.0, 220.0, 70.0),
        RingSample(80.0, 100.0, 100.0, 110.0, 105.0, 4.0),
    ),
    alone=(process(1, 50_000_000),),
    together=(process(2, 55_000_000),),
)


def by_name(samples: XenSamples) -> dict[str, Figure]:
    return {figure.name: figure for figure in xen_figures_of(samples)}


def test_ratios_are_of_what_was_measured_in_turn() -> None:
    figures = by_name(SAMPLES)
    assert figures["xen-user-space"].values == pytest.approx((1.2, 1.2))
    assert figures["xen-doorbell"].values == pytest.approx((1.5, 1.1))
    assert figures["xen-doorbell-no-service"].values == pytest.approx((1.1, 1.05))
    assert figures["xen-doorbell-looked"].values == pytest.approx((300 / 180, 1.1))
    assert figures["xen-doorbell"].met is False
    assert figures["xen-user-space"].met is True


def test_a_round_without_one_of_its_boots_gives_no_ratio() -> None:
    assert by_name(XenSamples(rounds=((boot("efi", 6.0),),)))["xen-user-space"].values == ()


def test_a_further_domain_costs_what_two_cost_more_than_one() -> None:
    figures = by_name(SAMPLES)
    assert figures["xen-memory"].values == (50.0,)
    assert figures["xen-memory-more"].values == (5.0,)


def test_one_wake_up_beside_an_idle_guest_is_one_too_many() -> None:
    assert by_name(SAMPLES)["xen-idle-switches"].met is True
    woken = by_name(XenSamples(alone=(process(1, MIB, switches=1),)))
    assert woken["xen-idle-switches"].met is False


def test_what_was_not_measured_has_no_figure_and_no_table() -> None:
    assert not any(figure.values for figure in xen_figures_of(XenSamples()))
    assert xen_tables_of(XenSamples()) == []


def test_tables_say_what_share_of_a_doorbell_is_pvefi_s() -> None:
    boots, rings, processes = xen_tables_of(SAMPLES)
    assert [row[0] for row in boots.rows] == ["efi", "xen-pvh"]
    assert rings.rows == (("85", "150", "140", "162", "205", "37", "21 %"),)
    assert [row[0] for row in processes.rows] == ["1", "2"]


def test_the_bare_guest_is_a_pvh_kernel_that_writes_to_the_doorbell_s_port(
    tool: Tool, tmp_path: Path
) -> None:
    for name in ("as", "ld"):
        tool(name)
    path = tmp_path / "bare.elf"
    path.write_bytes(build_bare())
    image = inspect(path)
    assert [entry.kind for entry in image.entries] == [EntryKind.PVH]
    assert b"\xba" + DOORBELL_PORT.to_bytes(4, "little") in path.read_bytes()  # mov $port, %edx


def test_the_ringing_guest_is_an_efi_program(tmp_path: Path) -> None:
    path = tmp_path / "ring.efi"
    path.write_bytes(build_ringer())
    assert EntryKind.EFI in [entry.kind for entry in inspect(path).entries]


def test_both_halves_of_the_measurement_speak_of_the_same_port_and_blocks() -> None:
    assert (xen_rings.BARE_PORT, xen_rings.BLOCK) == (BARE_PORT, BLOCK)
    assert b"\xba" + BARE_PORT.to_bytes(4, "little") + b"\xee" in build_ringer()  # mov $port, %edx; out
