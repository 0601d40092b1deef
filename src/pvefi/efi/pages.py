# SPDX-License-Identifier: GPL-2.0-or-later
"""The EFI memory map: which page of guest memory has which type, and who holds it — UEFI 2.10 §7.2.

`PageMap` is built once, from the machine's memory map, and then serves the page services, the pools and
everything that the environment itself places in the guest. It is arithmetic on intervals, not memory itself.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from typing import NamedTuple

from pvefi.efi.errors import EfiError
from pvefi.spec.uefi.memory import (
    OEM_MEMORY_TYPES,
    PAGE_SIZE,
    AllocateType,
    MemoryAttribute,
    MemoryDescriptor,
    MemoryType,
)
from pvefi.spec.uefi.status import EfiStatus
from pvefi.spec.xen.start_info import MemmapType

__all__ = ["ALLOCATED_PAGES", "DESCRIPTOR_SIZE", "FREE", "RUNTIME_TYPES", "PageMap", "Span", "is_allocatable"]

DESCRIPTOR_SIZE = 48
"""The distance between descriptors in GetMemoryMap's buffer: more than a descriptor takes.

UEFI 2.10 §7.2.3: "The structure of the EFI_MEMORY_DESCRIPTOR may be extended in the future", so callers have
to use the size that they are given; EDK2 also answers 48 to catch those that do not.
"""

ALLOCATED_PAGES = "AllocatePages"
"""The name of pages that the guest took by AllocatePages, and alone may give back by FreePages."""
FREE = "free"
"""The name of conventional memory."""

_FOUR_GIB = 1 << 32
_ADDRESS_LIMIT = 1 << 64
_RAM = int(MemoryAttribute.UC | MemoryAttribute.WC | MemoryAttribute.WT | MemoryAttribute.WB)
_RUNTIME = int(MemoryAttribute.RUNTIME)
RUNTIME_TYPES = (MemoryType.RUNTIME_SERVICES_CODE, MemoryType.RUNTIME_SERVICES_DATA)
"""The types of memory that outlives boot services, to be mapped for the runtime services."""

# Where entries other than RAM meet in one page, the one that binds the guest more comes later and wins.
_KINDS: tuple[tuple[MemmapType, MemoryType, int], ...] = (
    (MemmapType.PMEM, MemoryType.PERSISTENT, _RAM | int(MemoryAttribute.NV)),
    (MemmapType.ACPI, MemoryType.ACPI_RECLAIM, _RAM),
    (MemmapType.NVS, MemoryType.ACPI_NVS, _RAM),
    (MemmapType.RESERVED, MemoryType.RESERVED, int(MemoryAttribute.UC)),
    (MemmapType.UNUSABLE, MemoryType.UNUSABLE, int(MemoryAttribute.UC)),
)
_KNOWN_KINDS = frozenset(kind for kind, _, _ in _KINDS)


_Run = tuple[int, int, MemoryType, int]
"""Start, end, type and attribute of what one descriptor tells."""


class Span(NamedTuple):
    """Guest memory from `start` up to, not including, `end`: one type, one set of attributes, one holder."""

    start: int
    end: int
    type: MemoryType
    attribute: int
    name: str

    @property
    def pages(self) -> int:
        """The number of 4 KiB pages."""
        return (self.end - self.start) // PAGE_SIZE


def is_allocatable(memory_type: MemoryType) -> bool:
    """Whether the allocation services may be asked for `memory_type` — UEFI 2.10 §7.2.1, §7.2.4."""
    # "The only illegal memory type values are those in the range EfiMaxMemoryType..0x6FFFFFFF",
    # with EfiPersistentMemory and EfiUnacceptedMemoryType; EDK2 refuses EfiConventionalMemory too.
    return (memory_type <= MemoryType.PAL_CODE and memory_type != MemoryType.CONVENTIONAL) or (
        memory_type >= OEM_MEMORY_TYPES.start
    )


class PageMap:
    """All guest memory by page, as sorted intervals; what none of them covers is no memory."""

    def __init__(self, spans: Iterable[Span] = ()) -> None:
        self._starts: list[int] = []
        self._spans: list[Span] = []
        self._key = 0
        self._described: dict[_Run, tuple[MemoryDescriptor, bytes]] = {}
        self._described_key = 0
        self._packed: dict[int, bytes] = {}
        for span in spans:
            self._paint(span)

    @classmethod
    def from_memmap(cls, entries: Iterable[tuple[int, int, MemmapType]]) -> PageMap:
        """Return the map of a machine whose memory map has `entries` of (address, size in bytes, kind).

        Entries may overlap, be empty, unsorted, or begin and end within a page; those above RAM stay.
        """
        clipped = [
            (start, min(start + size, _ADDRESS_LIMIT), kind) for start, size, kind in entries if size > 0
        ]
        made = cls()
        for start, end in _joined((s, e) for s, e, kind in clipped if kind == MemmapType.RAM):
            # A page is conventional memory only if all of it is: RAM rounds inwards.
            inner, outer = _round_up(start), _round_down(end)
            if inner < outer:
                made._paint(Span(inner, outer, MemoryType.CONVENTIONAL, _RAM, FREE))
        for kind, memory_type, attribute in _KINDS:
            for start, end, found in clipped:
                # Kinds without an EFI type of their own, Xen's among them, are reserved.
                known = found if found in _KNOWN_KINDS else MemmapType.RESERVED
                if found != MemmapType.RAM and known == kind:
                    name = found.name.lower()
                    made._paint(Span(_round_down(start), _round_up(end), memory_type, attribute, name))
        # Page 0 is never given out: 0 means "no memory" to allocators and "not present" to
        # xen/include/public/arch-x86/hvm/start_info.h.
        if made.span_at(0) is not None:
            made._paint(Span(0, PAGE_SIZE, MemoryType.RESERVED, _RAM, "page 0"))
        return made

    @property
    def key(self) -> int:
        """GetMemoryMap's MapKey: another value after every change of the map — UEFI 2.10 §7.2.3."""
        return self._key

    @property
    def spans(self) -> tuple[Span, ...]:
        """Every interval in order of address, with its holder's name."""
        return tuple(self._spans)

    def span_at(self, address: int) -> Span | None:
        """Return the interval that holds `address`, or None where there is no memory."""
        at = bisect_right(self._starts, address) - 1
        return self._spans[at] if at >= 0 and address < self._spans[at].end else None

    def reserve(self, address: int, size: int, memory_type: MemoryType, name: str = "firmware") -> None:
        """Take the pages that `size` bytes at `address` touch, for the environment itself.

        FreePages never gives them back. ValueError where they are not free: placement decides better.
        """
        start, end = _round_down(address), _round_up(address + size)
        free = self.span_at(start)
        if size <= 0 or free is None or free.type != MemoryType.CONVENTIONAL or end > free.end:
            found = self._explain(start, end)
            raise ValueError(f"{name}: {start:#x}..{end:#x} is {found}, expected free memory")
        self._paint(Span(start, end, memory_type, free.attribute, name))

    def allocate(
        self,
        kind: AllocateType,
        memory_type: MemoryType,
        pages: int,
        address: int,
        *,
        alignment: int = PAGE_SIZE,
        name: str = ALLOCATED_PAGES,
    ) -> int:
        """Take `pages` pages and return their address — UEFI 2.10 §7.2.1.

        `address` is the wanted one for ADDRESS, the highest byte allowed for MAX_ADDRESS. Pages come from the
        top of memory, from below 4 GiB while it lasts: that keeps the low memory free where kernels want
        to be, and pointers short for programs that truncate them (EDK2 behaves alike).
        EfiError: INVALID_PARAMETER (type or kind), NOT_FOUND (ADDRESS not free), OUT_OF_RESOURCES.
        """
        if not kind.known:
            raise EfiError(EfiStatus.INVALID_PARAMETER, f"{kind.name} is not a way to allocate")
        if not is_allocatable(memory_type):
            raise EfiError(EfiStatus.INVALID_PARAMETER, f"{memory_type.name} memory cannot be allocated")
        size = pages * PAGE_SIZE
        if kind == AllocateType.ADDRESS:
            return self._allocate_at(address, size, memory_type, name)
        if pages == 0:
            raise EfiError(EfiStatus.OUT_OF_RESOURCES, "zero pages")
        limit = min(address + 1, _ADDRESS_LIMIT) if kind == AllocateType.MAX_ADDRESS else _ADDRESS_LIMIT
        found = self._highest(size, min(limit, _FOUR_GIB), alignment)
        if found is None and limit > _FOUR_GIB:
            found = self._highest(size, limit, alignment)
        if found is None:
            raise EfiError(EfiStatus.OUT_OF_RESOURCES, f"no {pages} free pages in a row below {limit:#x}")
        start, attribute = found
        self._paint(Span(start, start + size, memory_type, attribute, name))
        return start

    def take_all(self, name: str) -> None:
        """Take all pages that are free, and keep them."""
        for span in self.spans:
            if span.type == MemoryType.CONVENTIONAL:
                self._paint(span._replace(type=MemoryType.BOOT_SERVICES_DATA, name=name))

    def lowest_free(self, pages: int, *, minimum: int = 1 << 20, alignment: int = PAGE_SIZE) -> int | None:
        """Return the lowest address, `minimum` or more, of `pages` free pages; None when there is none."""
        size = pages * PAGE_SIZE
        for span in self._spans:
            if span.type == MemoryType.CONVENTIONAL:
                start = -(-max(span.start, minimum) // alignment) * alignment
                if start + size <= span.end:
                    return start
        return None

    def free(self, address: int, pages: int, *, name: str = ALLOCATED_PAGES) -> None:
        """Give back `pages` pages at `address`, all or none of them — UEFI 2.10 §7.2.2.

        A part of an allocation, or several that touch, may be given back at once.
        EfiError: INVALID_PARAMETER (unaligned, no pages), NOT_FOUND (not all held under `name`).
        """
        if address % PAGE_SIZE:
            raise EfiError(EfiStatus.INVALID_PARAMETER, f"{address:#x} is not the address of a page")
        if pages == 0:
            raise EfiError(EfiStatus.INVALID_PARAMETER, "zero pages")
        end = address + pages * PAGE_SIZE
        held: list[Span] = []
        at = address
        while at < end:
            span = self.span_at(at)
            # EFI_NOT_FOUND is for pages that "were not allocated with AllocatePages()".
            if span is None or span.name != name:
                found = "no memory" if span is None else f"held by {span.name}"
                raise EfiError(EfiStatus.NOT_FOUND, f"{at:#x} is {found}, not by {name}")
            held.append(Span(at, min(span.end, end), MemoryType.CONVENTIONAL, span.attribute, FREE))
            at = span.end
        for span in held:
            self._paint(span)

    def descriptors(self) -> tuple[MemoryDescriptor, ...]:
        """Return the map as the guest sees it: neighbours of one type and attribute are one descriptor."""
        return tuple(descriptor for descriptor, _ in self._records().values())

    def packed(self, descriptor_size: int = DESCRIPTOR_SIZE) -> bytes:
        """Return the descriptors as GetMemoryMap writes them, `descriptor_size` bytes apart."""
        made = self._packed.get(descriptor_size)
        if made is None:
            padding = bytes(descriptor_size - MemoryDescriptor.SIZE)
            made = b"".join([record + padding for _, record in self._records().values()])
            self._packed[descriptor_size] = made
        return made

    def _records(self) -> dict[_Run, tuple[MemoryDescriptor, bytes]]:
        """Return each run's descriptor and bytes; what the last change left alone is not made again."""
        if self._described_key != self._key:
            runs: list[_Run] = []
            for start, end, memory_type, capabilities, _ in self._spans:
                attribute = capabilities | (_RUNTIME if memory_type in RUNTIME_TYPES else 0)
                if runs and runs[-1][1:] == (start, memory_type, attribute):
                    runs[-1] = (runs[-1][0], end, memory_type, attribute)
                else:
                    runs.append((start, end, memory_type, attribute))
            known = self._described
            self._described = {run: known.get(run) or _describe(*run) for run in runs}
            self._described_key = self._key
        return self._described

    def _allocate_at(self, address: int, size: int, memory_type: MemoryType, name: str) -> int:
        # "EFI_NOT_FOUND: The requested pages could not be found", as EDK2 says of unaligned ones too.
        if address % PAGE_SIZE or size == 0:
            raise EfiError(EfiStatus.NOT_FOUND, f"{size // PAGE_SIZE} pages at {address:#x} are no pages")
        free = self.span_at(address)
        if free is None or free.type != MemoryType.CONVENTIONAL or address + size > free.end:
            end = address + size
            raise EfiError(EfiStatus.NOT_FOUND, f"{address:#x}..{end:#x} is {self._explain(address, end)}")
        self._paint(Span(address, address + size, memory_type, free.attribute, name))
        return address

    def _highest(self, size: int, limit: int, alignment: int) -> tuple[int, int] | None:
        for span in reversed(self._spans):
            if span.type == MemoryType.CONVENTIONAL and span.start < limit:
                start = (min(span.end, limit) - size) // alignment * alignment
                if start >= span.start:
                    return start, span.attribute
        return None

    def _explain(self, start: int, end: int) -> str:
        at = bisect_right(self._starts, start) - 1
        for span in self._spans[max(at, 0) :]:
            if span.end > start and span.type != MemoryType.CONVENTIONAL:
                return f"held by {span.name} at {span.start:#x}" if span.start < end else "not all memory"
        return "not all memory"

    def _paint(self, new: Span) -> None:
        """Let `new` replace whatever was there, joining it with equal neighbours."""
        spans = self._spans
        start, end, memory_type, attribute, name = new
        first = bisect_left(self._starts, start)
        if first and spans[first - 1].end >= start:
            first -= 1
        last = bisect_right(self._starts, end)
        pieces: list[Span] = []
        for span in spans[first:last]:
            if span[2:] == new[2:]:
                start, end = min(start, span.start), max(end, span.end)
                continue
            if span.start < new.start:
                pieces.append(span._replace(end=new.start))
            if span.end > new.end:
                pieces.append(span._replace(start=max(span.start, new.end)))
        pieces.append(Span(start, end, memory_type, attribute, name))
        pieces.sort()
        spans[first:last] = pieces
        self._starts[first:last] = [span.start for span in pieces]
        self._key += 1
        self._packed.clear()


def _describe(
    start: int, end: int, memory_type: MemoryType, attribute: int
) -> tuple[MemoryDescriptor, bytes]:
    made = MemoryDescriptor(memory_type, 0, start, 0, (end - start) // PAGE_SIZE, attribute)
    return made, made.pack()


def _round_down(address: int) -> int:
    return address & -PAGE_SIZE


def _round_up(address: int) -> int:
    return -(-address // PAGE_SIZE) * PAGE_SIZE


def _joined(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the ranges sorted, those that touch or overlap as one."""
    joined: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined
