# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the operating system puts runtime memory in its address space — UEFI 2.10 §8.4.1."""

from __future__ import annotations

from collections.abc import Sequence

from pvefi.efi.errors import EfiError
from pvefi.spec.uefi.memory import PAGE_SIZE, MemoryAttribute, MemoryDescriptor
from pvefi.spec.uefi.status import EfiStatus

__all__ = ["VirtualMap"]

_ADDRESS = (1 << 64) - 1  # a guest may give any virtual address: sums wrap as its CPU's do


def _end(descriptor: MemoryDescriptor) -> int:
    return descriptor.physical_start + descriptor.number_of_pages * PAGE_SIZE


def _covered(start: int, end: int, spans: Sequence[MemoryDescriptor]) -> bool:
    """Whether `spans` together hold all of `start` up to `end`."""
    for span in sorted(spans, key=lambda span: span.physical_start):
        if span.physical_start <= start < _end(span):
            start = _end(span)
    return start >= end


class VirtualMap:
    """The ranges for which a guest gave virtual addresses; only those of runtime memory count."""

    def __init__(self, descriptors: Sequence[MemoryDescriptor]) -> None:
        self._given = tuple(descriptors)
        self._runtime = tuple(one for one in descriptors if one.attribute & MemoryAttribute.RUNTIME)

    def convert(self, address: int) -> int:
        """Return where `address` (guest physical) is from now on; EfiError NOT_FOUND outside every range."""
        for one in self._runtime:
            if one.physical_start <= address < _end(one):
                return address - one.physical_start + one.virtual_start & _ADDRESS
        raise EfiError(EfiStatus.NOT_FOUND, f"{address:#x} is in no runtime range of the virtual address map")

    def check(self, memory_map: Sequence[MemoryDescriptor]) -> None:
        """Compare with the memory map that ExitBootServices() left.

        EfiError: NO_MAPPING for runtime memory without a virtual address, NOT_FOUND for a range that is
        not in the memory map.
        """
        for one in memory_map:
            if one.attribute & MemoryAttribute.RUNTIME and not _covered(
                one.physical_start, _end(one), self._runtime
            ):
                raise EfiError(
                    EfiStatus.NO_MAPPING, f"runtime memory at {one.physical_start:#x} has no virtual address"
                )
        for one in self._given:
            if not _covered(one.physical_start, _end(one), memory_map):
                raise EfiError(
                    EfiStatus.NOT_FOUND,
                    f"{one.number_of_pages} pages at {one.physical_start:#x} are not in the memory map",
                )
