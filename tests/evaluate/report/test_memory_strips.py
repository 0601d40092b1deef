# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests of memory maps laid out side by side."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvefi.evaluate.report.memory_strips import KINDS, kind_of, strips_of
from pvefi.evaluate.report.palette import FILLS
from pvefi.trace.values import Json
from tests.build.evaluation import HOSTILE, MIB, memory_map


def record(panel: str, start: int, end: int, kind: str) -> dict[str, Json]:
    return {"panel": panel, "start": start, "end": end, "type": kind}


def test_a_page_beside_480_mib_has_a_line_of_text() -> None:
    strips = strips_of(memory_map().records)
    page = next(strip for strip in strips.strips if strip.label == "ACPI, 4 KiB")
    assert page.bottom - page.top >= 12
    assert all(strip.label for strip in strips.strips)


def test_one_address_is_at_one_height_in_every_map() -> None:
    one = [record("a", 0, 64 * MIB, "free"), record("a", 64 * MIB, 128 * MIB, "used")]
    other = [record("b", 0, MIB, "used"), record("b", MIB, 64 * MIB, "free")]
    strips = strips_of([*one, *other])
    bottoms = {strip.panel: strip.bottom for strip in strips.strips if strip.type == "free"}
    assert bottoms["a"] == bottoms["b"]


def test_neighbours_of_one_type_are_one_range() -> None:
    strips = strips_of([record("a", MIB, 2 * MIB, "free"), record("a", 0, MIB, "free")])
    assert [strip.label for strip in strips.strips] == ["free, 2 MiB"]


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (("EfiConventionalMemory", "usable", "System RAM"), "free"),
        (("EfiReservedMemoryType", "reserved", "Reserved"), "reserved"),
        (("EfiACPIReclaimMemory", "ACPI data", "ACPI Tables"), "ACPI tables"),
        (("EfiACPIMemoryNVS", "ACPI NVS", "ACPI Non-volatile Storage"), "ACPI NVS"),
        (("EfiRuntimeServicesCode", "EfiRuntimeServicesData"), "runtime services"),
        (("Kernel code", "Kernel rodata", "Kernel bss"), "kernel"),
        (("EfiMemoryMappedIO",), "devices"),
        (("EfiPersistentMemory", "\u202e"), "anything else"),
    ],
)
def test_one_use_has_one_colour_whatever_a_map_calls_it(names: tuple[str, ...], kind: str) -> None:
    assert {kind_of(name) for name in names} == {kind}


def test_every_use_has_a_colour_of_its_own() -> None:
    assert len(set(KINDS.values())) == len(KINDS)
    assert set(KINDS.values()) <= set(FILLS)


def test_ranges_that_are_none_are_left_out() -> None:
    strips = strips_of([record("a", 5, 5, "x"), record("a", 9, 3, "x"), record("a", 0, 1, HOSTILE)])
    assert len(strips.strips) == 1
    assert strips.strips[0].label.isprintable()
    assert strips_of([]).strips == ()


@given(st.lists(st.integers(min_value=0, max_value=1 << 52), unique=True, min_size=2, max_size=400))
def test_ranges_neither_overlap_nor_vanish_and_addresses_have_room(ends: list[int]) -> None:
    ends.sort()
    strips = strips_of(
        [record("a", start, end, f"type {at % 3}") for at, (start, end) in enumerate(pairwise(ends))]
    )
    assert all(strip.top < strip.bottom for strip in strips.strips)
    edges = [edge for strip in strips.strips for edge in (strip.top, strip.bottom)]
    assert edges == sorted(edges)
    assert edges[-1] == strips.height
    written = list(strips.addresses)
    assert all(below - above >= 12 for above, below in pairwise(written))
