# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pvefi.report.memory_maps import e820_name, interval_lines, intervals, intervals_to_json
from pvefi.spec.linux.e820 import E820Entry, E820Type
from pvefi.spec.uefi.memory import MemoryAttribute, MemoryDescriptor, MemoryType
from tests.report.made import E820_MAP, EFI_MAP, descriptor, e820

CONVENTIONAL = descriptor(MemoryType.CONVENTIONAL, 0x1000, 0x4000)

words = st.integers(0, (1 << 64) - 1)
descriptors = st.builds(
    MemoryDescriptor, words.map(MemoryType), st.just(0), words, words, st.integers(0, 1 << 52), words
)
entries = st.builds(E820Entry, words, words, st.integers(0, (1 << 32) - 1).map(E820Type))


def rows(efi: list[MemoryDescriptor], table: list[E820Entry]) -> list[str]:
    return [line.plain for line in interval_lines(intervals(efi, table))]


def test_the_maps_of_a_good_hand_off_agree_in_every_row() -> None:
    table = intervals(EFI_MAP, E820_MAP)
    assert all(one.agrees for one in table)
    assert len(table) == len(EFI_MAP)


def test_a_row_ends_where_either_map_has_a_boundary() -> None:
    table = intervals([CONVENTIONAL], [e820(E820Type.RAM, 0x0, 0x2000)])
    assert [(one.start, one.end) for one in table] == [(0, 0x1000), (0x1000, 0x2000), (0x2000, 0x4000)]


def test_nothing_is_said_of_addresses_that_no_map_describes() -> None:
    table = intervals([CONVENTIONAL], [e820(E820Type.RAM, 0x8000, 0x9000)])
    assert [one.start for one in table] == [0x1000, 0x8000]


def test_a_difference_is_marked_with_what_linux_would_have_made() -> None:
    runtime = descriptor(MemoryType.RUNTIME_SERVICES_DATA, 0x4000, 0x5000)
    lines = rows([CONVENTIONAL, runtime], [e820(E820Type.RAM, 0x1000, 0x5000)])
    assert lines[1].split() == ["1000-3fff", "12", "KiB", "EfiConventionalMemory", "WB|WT|WC|UC", "usable"]
    assert lines[2].startswith("! 4000-4fff ")
    assert lines[2].endswith("usable (stub: reserved)")


def test_memory_that_e820_does_not_have_is_marked() -> None:
    _, missing, extra = rows([CONVENTIONAL], [e820(E820Type.RAM, 0x8000, 0x9000)])
    assert missing.endswith("  - (stub: usable)")
    assert extra.split()[-5:] == ["KiB", "-", "usable", "(stub:", "-)"]


def test_memory_types_of_an_os_are_left_out_of_e820() -> None:
    own = descriptor(MemoryType(0x80000001), 0x4000, 0x5000)
    (_, row) = intervals([CONVENTIONAL, own], [e820(E820Type.RAM, 0x1000, 0x4000)])
    assert row.agrees
    assert rows([own], [])[1].split()[3] == "0x80000001"


def test_specific_purpose_memory_is_soft_reserved() -> None:
    special = descriptor(MemoryType.CONVENTIONAL, 0, 0x1000, MemoryAttribute.WB | MemoryAttribute.SP)
    (row,) = intervals([special], [e820(E820Type.SOFT_RESERVED, 0, 0x1000)])
    assert row.agrees


def test_a_missing_map_is_no_difference() -> None:
    assert intervals([], [e820(E820Type.RAM, 0, 0x1000)])[0].agrees
    assert intervals([CONVENTIONAL], [])[0].agrees
    assert rows([], []) == []


def test_overlapping_entries_are_shown_together() -> None:
    both = [e820(E820Type.RAM, 0, 0x2000), e820(E820Type.RESERVED, 0x1000, 0x2000)]
    assert rows([CONVENTIONAL], both)[2].endswith("usable+reserved (stub: usable)")


def test_e820_types_are_named_as_in_a_kernels_log() -> None:
    assert e820_name(E820Type.NVS) == "ACPI NVS"
    assert e820_name(E820Type(0x1234)) == "type 4660"


@given(st.lists(descriptors, max_size=6), st.lists(entries, max_size=6))
def test_maps_of_any_quality_can_be_shown(efi: list[MemoryDescriptor], table: list[E820Entry]) -> None:
    found = intervals(efi, table)
    assert all(one.start < one.end for one in found)
    assert all(first.end <= second.start for first, second in pairwise(found))
    assert all(line.plain.isprintable() for line in interval_lines(found))
    assert len(intervals_to_json(found)) == len(found)
