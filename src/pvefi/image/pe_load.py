# SPDX-License-Identifier: GPL-2.0-or-later
"""Says which bytes of a PE image go where in memory, relocated for a base address.

Pure: placement takes the segments, a writer puts them into the guest. Zero fill is a size, never bytes, so
a SizeOfImage that lies costs nothing here.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from dataclasses import dataclass

from pvefi.errors import ImageError
from pvefi.image.pe import PeImage
from pvefi.image.relocations import relocations
from pvefi.spec.pe import Machine, SectionCharacteristic

__all__ = ["HEADERS", "Segment", "check_loadable", "mapped_segments"]

HEADERS = "headers"
"""The name of the segment that holds the file's first SizeOfHeaders bytes, at RVA 0."""

_WORD = {4: struct.Struct("<I"), 8: struct.Struct("<Q")}


@dataclass(frozen=True, slots=True)
class Segment:
    """Bytes for one range of the image; from the end of `data` to `memory_size` the range is zero.

    The ranges are ascending and the gaps between them, up to SizeOfImage, are zero too.
    """

    name: str
    rva: int
    data: memoryview
    memory_size: int
    characteristics: SectionCharacteristic


def check_loadable(image: PeImage, machine: Machine = Machine.AMD64) -> None:
    """Raise ImageError unless EFI firmware of `machine` would load and start `image`."""
    if image.machine != machine:
        raise ImageError(
            image.path,
            image.header_offset,
            f"a PE image for {machine.name} ({int(machine):#x})",
            f"one for {image.machine.name} ({int(image.machine):#x})",
            "give an image built for x86-64",
        )
    if not image.subsystem.is_efi:
        raise ImageError(
            image.path,
            image.header_offset,
            "an EFI subsystem (10 to 13)",
            f"{image.subsystem.name} ({int(image.subsystem)})",
            "a program for Windows cannot run under EFI",
        )
    if not image.entry_rva:
        raise ImageError(image.path, image.header_offset, "an entry point", "AddressOfEntryPoint 0")


def mapped_segments(image: PeImage, data: bytes, base_address: int) -> tuple[Segment, ...]:
    """Return what goes into memory when `image`, whose file is `data`, is loaded at `base_address`.

    Only segments with relocations are copied; the others are views of `data`. Like EDK2's loader, this
    writes `base_address` into the ImageBase field of the headers.
    """
    whole = memoryview(data).toreadonly()
    mapped = [
        Segment(
            section.name,
            section.virtual_address,
            whole[section.raw_offset : section.raw_offset + section.file_size],
            section.memory_size,
            section.characteristics,
        )
        for section in sorted(image.sections, key=lambda s: s.virtual_address)
        if section.memory_size
    ]
    first = mapped[0].rva if mapped else image.size_of_image
    headers = whole[: min(image.size_of_headers, first)]
    mapped.insert(0, Segment(HEADERS, 0, headers, len(headers), SectionCharacteristic.MEM_READ))
    delta = base_address - image.image_base
    return tuple(_relocated(image, data, mapped, delta) if delta else mapped)


def _rebased_headers(image: PeImage, headers: Segment, base_address: int) -> dict[int, bytearray]:
    width = image.bits // 8
    if image.image_base_offset + width > len(headers.data):
        return {}
    content = bytearray(headers.data)
    word, mask = _WORD[width], (1 << image.bits) - 1
    word.pack_into(content, image.image_base_offset, base_address & mask)
    return {0: content}


def _relocated(image: PeImage, data: bytes, mapped: list[Segment], delta: int) -> list[Segment]:
    if not image.relocatable:
        raise ImageError(
            image.path,
            image.header_offset,
            "an image that can be moved",
            f"one without relocations, linked for {image.image_base:#x}",
        )
    starts = [segment.rva for segment in mapped]
    changed = _rebased_headers(image, mapped[0], image.image_base + delta)
    for place in relocations(image, data):
        index = bisect_right(starts, place.rva) - 1
        segment = mapped[index]
        into = place.rva - segment.rva
        if into + place.width > len(segment.data):
            raise ImageError(
                image.path,
                None,
                "relocations inside the file's data",
                f"one at RVA {place.rva:#x}, where {segment.name} holds none",
            )
        if index not in changed:
            changed[index] = bytearray(segment.data)
        word, mask = _WORD[place.width], (1 << 8 * place.width) - 1
        (value,) = word.unpack_from(changed[index], into)
        word.pack_into(changed[index], into, (value + delta) & mask)
    for index, content in changed.items():
        old = mapped[index]
        mapped[index] = Segment(
            old.name, old.rva, memoryview(content).toreadonly(), old.memory_size, old.characteristics
        )
    return mapped
