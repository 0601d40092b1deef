# SPDX-License-Identifier: GPL-2.0-or-later
"""The EFI memory map and the e820 table that the kernel got, side by side.

One row an interval between two boundaries of either map, so that each row has one answer of each. A row
where e820 is not what Linux's own EFI stub would have made of the EFI type is marked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType

from rich.text import Text

from pvefi.report.text import size_text
from pvefi.spec.linux.e820 import E820Entry, E820Type, type_by_stub
from pvefi.spec.uefi.memory import PAGE_SIZE, MemoryAttribute, MemoryDescriptor
from pvefi.trace.columns import columns
from pvefi.trace.spelling import spell
from pvefi.trace.values import Json

__all__ = ["Interval", "attribute_names", "e820_name", "interval_lines", "intervals", "intervals_to_json"]

_NAMES: Mapping[E820Type, str] = MappingProxyType(
    {  # as a kernel's log has them: Linux arch/x86/kernel/e820.c, e820_print_type()
        E820Type.RAM: "usable",
        E820Type.RESERVED: "reserved",
        E820Type.ACPI: "ACPI data",
        E820Type.NVS: "ACPI NVS",
        E820Type.UNUSABLE: "unusable",
        E820Type.PMEM: "persistent (type 7)",
        E820Type.PRAM: "persistent (type 12)",
        E820Type.RESERVED_KERN: "usable (type 128)",
        E820Type.SOFT_RESERVED: "soft reserved",
    }
)


@dataclass(frozen=True)
class Interval:
    """Addresses from `start` up to and without `end`, and what each map has there: mostly one entry."""

    start: int
    end: int
    efi: tuple[MemoryDescriptor, ...]
    e820: tuple[E820Entry, ...]

    expected: tuple[E820Type, ...]
    """The e820 types that Linux's EFI stub makes of the EFI types here."""
    agrees: bool
    """Whether e820 says just that, or one of the maps is missing as a whole."""


def intervals(efi: Sequence[MemoryDescriptor], e820: Sequence[E820Entry]) -> list[Interval]:
    """Return every interval that one of the maps describes, by address; the maps may be of any quality."""
    spans = [(one.physical_start, one.physical_start + one.number_of_pages * PAGE_SIZE) for one in efi]
    ranges = [(one.addr, one.addr + one.size) for one in e820]
    boundaries = sorted({boundary for span in spans + ranges for boundary in span})
    found = []
    for start, end in pairwise(boundaries):
        here = tuple(one for one, (first, past) in zip(efi, spans, strict=True) if first <= start < past)
        there = tuple(one for one, (first, past) in zip(e820, ranges, strict=True) if first <= start < past)
        if here or there:
            expected = tuple(kind for one in here if (kind := type_by_stub(one)) is not None)
            agrees = not efi or not e820 or expected == tuple(entry.type for entry in there)
            found.append(Interval(start, end, here, there, expected, agrees))
    return found


def e820_name(kind: E820Type) -> str:
    """Return an e820 type as a kernel's log names it."""
    return _NAMES.get(kind, f"type {int(kind)}")


def interval_lines(table: Sequence[Interval], width: int | None = None) -> list[Text]:
    """Return the two maps as one table; ranges are inclusive, as in a kernel's log.

    Attributes are left out where `width` has no room for them, then sizes.
    """
    if not table:
        return []
    digits = max(len(f"{one.end - 1:x}") for one in table)
    rows = [[Text(title, "dim") for title in ("  range", "size", "EFI memory map", "", "e820")]]
    rows += [
        [
            _mark(one).append(f"{one.start:0{digits}x}-{one.end - 1:0{digits}x}"),
            Text(size_text(one.end - one.start)),
            Text("+".join(spell(entry.type) for entry in one.efi) or "-"),
            Text("+".join(attribute_names(entry) for entry in one.efi)),
            _e820_text(one),
        ]
        for one in table
    ]
    return columns(rows, "<><<<", width=width, spare=[3, 1])


def _mark(one: Interval) -> Text:
    return Text("  ") if one.agrees else Text.assemble(("! ", "bold red"))


def _e820_text(one: Interval) -> Text:
    names = "+".join(e820_name(entry.type) for entry in one.e820) or "-"
    if one.agrees:
        return Text(names)
    return Text.assemble((names, "bold red"), f" (stub: {'+'.join(map(e820_name, one.expected)) or '-'})")


def attribute_names(descriptor: MemoryDescriptor) -> str:
    """Return the attributes by their short names, RUNTIME first, as a kernel's log has them."""
    names = [
        "RUN" if bit is MemoryAttribute.RUNTIME else bit.name or ""
        for bit in sorted(MemoryAttribute, reverse=True)
        if bit & descriptor.attribute
    ]
    unnamed = descriptor.attribute & ~sum(MemoryAttribute)
    return "|".join(names + [f"{unnamed:#x}"] * bool(unnamed))


def intervals_to_json(table: Sequence[Interval]) -> list[Json]:
    """Return the table; `end` is the first address after an interval."""
    return [
        {
            "start": one.start,
            "end": one.end,
            "efi": [spell(entry.type) for entry in one.efi],
            "attribute": [entry.attribute for entry in one.efi],
            "e820": [e820_name(entry.type) for entry in one.e820],
            "agrees": one.agrees,
        }
        for one in table
    ]
