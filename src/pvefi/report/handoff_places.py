# SPDX-License-Identifier: GPL-2.0-or-later
"""What stands where at a hand-off, so that an address can be named by what it points into.

KASLR and the guest's allocations put the same things elsewhere in every boot: two addresses that point to
the same place of the same thing are one difference less to explain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pvefi.report.boot_document import HandoffDocument
from pvefi.spec.uefi.guids import guid_name
from pvefi.spec.uefi.memory import PAGE_SIZE, MemoryDescriptor, MemoryType

__all__ = ["KERNEL", "Span", "Surroundings", "surroundings"]

KERNEL = "kernel"
_LOWEST = PAGE_SIZE  # smaller numbers are counts and flags rather than addresses
_VIRTUAL_BASE = 0xFFFFFFFF80000000  # __START_KERNEL_map, Linux arch/x86/include/asm/page_64_types.h
_VIRTUAL_SIZE = 1 << 30  # KERNEL_IMAGE_SIZE with KASLR, likewise


@dataclass(frozen=True)
class Span:
    """Something of a name, from `start` to `end`; the address just after it still points to its end."""

    name: str
    start: int
    end: int


@dataclass(frozen=True)
class Surroundings:
    """What stands where in one boot; `allocated` has for each name the EFI descriptor that it lies in.

    `types` are the types of these descriptors.
    """

    spans: tuple[Span, ...]
    allocated: Mapping[str, Span]
    types: Mapping[str, MemoryType]
    virtual_slide: int | None

    def role(self, address: int) -> str:
        """Return what `address` points into and how far, '' when nothing known is there."""
        if address < _LOWEST:
            return ""
        offset = address - _VIRTUAL_BASE
        if 0 <= offset < _VIRTUAL_SIZE:
            if self.virtual_slide is None or offset < self.virtual_slide:
                return ""
            return f"virtual {address - self.virtual_slide:#x} as linked"
        here = [span for span in self.spans if span.start <= address <= span.end]
        if not here:
            return "virtual slide" if address == self.virtual_slide else ""
        span = min(here, key=lambda one: (one.end - one.start, one.name))
        return span.name + (f"+{address - span.start:#x}" if address != span.start else "")

    def inside(self, start: int, end: int) -> list[str]:
        """Return the names of what accounts for the whole of [start, end) in the EFI memory map."""
        return [name for name, span in self.allocated.items() if span.start <= start and end <= span.end]


def surroundings(a: HandoffDocument, b: HandoffDocument) -> tuple[Surroundings, Surroundings]:
    """Return what stands where in two boots."""
    sizes = [size for size in (_kernel_size(a), _kernel_size(b)) if size]
    # A descriptor may hold more than the kernel; of one kernel the smaller size is the better guess.
    size = min(sizes, default=0)
    return _surroundings(a, size), _surroundings(b, size)


def _end(one: MemoryDescriptor) -> int:
    return one.physical_start + one.number_of_pages * PAGE_SIZE


def _kernel_size(handoff: HandoffDocument) -> int:
    address = handoff.proof.address
    found = _descriptor(handoff, address)
    return _end(found) - address if found else handoff.boot_params.hdr.init_size


def _descriptor(handoff: HandoffDocument, address: int) -> MemoryDescriptor | None:
    return next((one for one in handoff.memory_map if one.physical_start <= address < _end(one)), None)


def _surroundings(handoff: HandoffDocument, kernel_size: int) -> Surroundings:
    params, proof, initrd = handoff.boot_params, handoff.proof, handoff.initrd
    efi = params.efi_info
    sizes = [
        (KERNEL, proof.address, kernel_size),
        ("boot_params", handoff.boot_params_address, params.SIZE),
        ("command line", params.command_line_address, len(handoff.command_line)),
        ("EFI memory map", efi.memory_map_address, efi.efi_memmap_size),
        ("initrd", initrd.address if initrd else 0, initrd.size if initrd else 0),
        *((guid_name(guid), address, 0) for guid, address in handoff.tables),
    ]
    spans = tuple(Span(name, start, start + size) for name, start, size in sizes if start)
    found = {
        span.name: one
        for span in spans
        if (one := _descriptor(handoff, span.start)) and one.type is not MemoryType.CONVENTIONAL
    }
    return Surroundings(
        spans,
        MappingProxyType({name: Span(name, one.physical_start, _end(one)) for name, one in found.items()}),
        MappingProxyType({name: one.type for name, one in found.items()}),
        proof.virtual_slide,
    )
