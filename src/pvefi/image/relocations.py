# SPDX-License-Identifier: GPL-2.0-or-later
"""Iterates a PE image's base relocations, lazily and strictly.

Source: Microsoft "PE Format" ".reloc Section". A table that lies is refused before it is applied.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from pvefi.errors import ImageError
from pvefi.image.pe import PeImage
from pvefi.spec.pe import RELOCATION_BLOCK_HEADER_SIZE, RelocationBlock, RelocationType

__all__ = ["Relocation", "relocations"]

_OFFSET_BITS = 12
_OFFSET_MASK = (1 << _OFFSET_BITS) - 1
_USED = frozenset({RelocationType.ABSOLUTE, RelocationType.HIGHLOW, RelocationType.DIR64})


@dataclass(frozen=True, slots=True)
class Relocation:
    """One place that holds an address relative to ImageBase; `width` is its size in bytes."""

    rva: int
    width: int


def relocations(image: PeImage, data: bytes) -> Iterator[Relocation]:
    """Yield the relocations of `image`, read from the file's bytes `data`; ABSOLUTE (padding) is skipped."""
    table_rva, table_size = image.relocation_table
    if not table_size:
        return
    start = image.file_offset(table_rva)
    last = image.file_offset(table_rva + table_size - 1)
    if start is None or last is None or last - start != table_size - 1:
        raise ImageError(
            image.path,
            image.header_offset,
            "a base relocation table inside one section's file data",
            f"RVA {table_rva:#x}, {table_size:#x} bytes",
        )
    at, end = start, last + 1
    while at < end:
        block = _block(image, data, at, end)
        yield from _entries(image, data, at, block)
        at += block.size_of_block


def _block(image: PeImage, data: bytes, at: int, end: int) -> RelocationBlock:
    if at + RELOCATION_BLOCK_HEADER_SIZE > end:
        raise ImageError(image.path, at, "a whole relocation block header", f"{end - at} bytes")
    block = RelocationBlock.unpack(data, at)
    size = block.size_of_block
    if size < RELOCATION_BLOCK_HEADER_SIZE or size % 2:
        raise ImageError(image.path, at, "a relocation block of even size, at least 8", f"size {size}")
    if at + size > end:
        raise ImageError(
            image.path, at, f"a relocation block within its table (up to {end:#x})", f"size {size:#x}"
        )
    if block.virtual_address >= image.size_of_image:
        raise ImageError(
            image.path,
            at,
            f"a relocation block inside the image ({image.size_of_image:#x} bytes)",
            f"page RVA {block.virtual_address:#x}",
        )
    return block


def _entries(image: PeImage, data: bytes, at: int, block: RelocationBlock) -> Iterator[Relocation]:
    count = (block.size_of_block - RELOCATION_BLOCK_HEADER_SIZE) // 2
    words = struct.unpack_from(f"<{count}H", data, at + RELOCATION_BLOCK_HEADER_SIZE)
    for index, word in enumerate(words):
        kind = RelocationType(word >> _OFFSET_BITS)
        if kind is RelocationType.ABSOLUTE:
            continue
        if kind not in _USED:
            raise ImageError(
                image.path,
                at + RELOCATION_BLOCK_HEADER_SIZE + 2 * index,
                "a relocation of type ABSOLUTE, HIGHLOW or DIR64",
                f"type {int(kind)}",
            )
        width = 8 if kind is RelocationType.DIR64 else 4
        yield Relocation(block.virtual_address + (word & _OFFSET_MASK), width)
