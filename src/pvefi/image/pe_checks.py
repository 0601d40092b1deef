# SPDX-License-Identifier: GPL-2.0-or-later
"""Refuses PE headers that would make a loader read or write outside its buffers.

EDK2's loader (MdePkg BasePeCoffLib) has most of these rules too; an absurd SizeOfImage, sections that overlap
and entry points outside all sections it takes on trust.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from pvefi.errors import ImageError
from pvefi.spec.pe import MAX_IMAGE_SIZE, SECTION_HEADER_SIZE

if TYPE_CHECKING:
    from pvefi.image.pe import PeImage, Section

__all__ = ["check_pe"]


def check_pe(image: PeImage) -> None:
    """Raise ImageError when the headers of `image` contradict the file or themselves."""
    _check_headers(image)
    for section in image.sections:
        _check_section(image, section)
    _check_overlaps(image)
    entries = [("AddressOfEntryPoint", image.entry_rva)] if image.entry_rva else []
    entries += [(".compat entry", compat.entry_rva) for compat in image.compat]
    for name, rva in entries:
        if image.section_at(rva) is None:
            _refuse(
                image,
                image.header_offset,
                f"{name} inside a section",
                f"{rva:#x}, outside all of {_extents(image)}",
            )


def _check_headers(image: PeImage) -> None:
    at = image.header_offset
    if image.size_of_headers > image.file_size:
        _refuse(
            image,
            at,
            f"SizeOfHeaders within the file ({image.file_size:#x} bytes)",
            f"{image.size_of_headers:#x}",
        )
    last = max((s.header_offset + SECTION_HEADER_SIZE for s in image.sections), default=at)
    if image.size_of_headers < last:
        _refuse(
            image,
            at,
            f"SizeOfHeaders that covers the section table (up to {last:#x})",
            f"{image.size_of_headers:#x}",
        )
    if image.size_of_image >= MAX_IMAGE_SIZE:
        _refuse(
            image,
            at,
            f"SizeOfImage below 2 GiB for a file of {image.file_size:#x} bytes",
            f"{image.size_of_image:#x}",
        )
    if image.size_of_image <= image.size_of_headers:
        _refuse(
            image,
            at,
            f"SizeOfImage larger than SizeOfHeaders ({image.size_of_headers:#x})",
            f"{image.size_of_image:#x}",
        )
    alignment = image.section_alignment
    if alignment == 0 or alignment & (alignment - 1):
        _refuse(image, at, "SectionAlignment that is a power of two", f"{alignment:#x}")


def _check_section(image: PeImage, section: Section) -> None:
    at, name = section.header_offset, section.name
    if section.raw_size and section.raw_offset + section.raw_size > image.file_size:
        _refuse(
            image,
            at,
            f"section {name} within the file ({image.file_size:#x} bytes)",
            f"raw data up to {section.raw_offset + section.raw_size:#x}",
        )
    if section.end > image.size_of_image:
        _refuse(
            image,
            at,
            f"SizeOfImage that covers section {name} (RVA {section.virtual_address:#x} to {section.end:#x})",
            f"{image.size_of_image:#x}",
        )


def _check_overlaps(image: PeImage) -> None:
    before: Section | None = None
    for section in sorted(image.sections, key=lambda s: s.virtual_address):
        if not section.memory_size:
            continue
        if before is not None and section.virtual_address < before.end:
            _refuse(
                image,
                section.header_offset,
                f"sections that do not overlap ({before.name} ends at RVA {before.end:#x})",
                f"{section.name} at RVA {section.virtual_address:#x}",
            )
        before = section


def _extents(image: PeImage) -> str:
    shown = [f"{s.name} {s.virtual_address:#x}-{s.end:#x}" for s in image.sections[:4]]
    return ", ".join(shown) + (", ..." if len(image.sections) > len(shown) else "") or "no sections"


def _refuse(image: PeImage, offset: int, expected: str, found: str) -> NoReturn:
    raise ImageError(image.path, offset, expected, found, "the file is truncated or its header is corrupt")
