# SPDX-License-Identifier: GPL-2.0-or-later
"""The header of an arm64 kernel Image.

Source: Linux booting.rst (Documentation/arch/arm64) "4. Call the kernel image".
"""

from __future__ import annotations

from typing import Annotated

from pvefi.layout import U32, U64, Array, Structure, layout

__all__ = [
    "Arm64ImageHeader",
    "BASE_ALIGNMENT",
    "BIG_ENDIAN",
    "MAGIC",
    "OLD_TEXT_OFFSET",
    "PAGE_SIZES",
    "PAGE_SIZE_SHIFT",
    "PLACED_ANYWHERE",
]

MAGIC = 0x644D5241  # "ARM\x64"
BASE_ALIGNMENT = 2 << 20
"""The Image stands text_offset bytes from a 2 MiB aligned base."""
OLD_TEXT_OFFSET = 0x80000
"""Where image_size is zero (before v3.17), text_offset "can be assumed to be 0x80000"."""
BIG_ENDIAN = 1 << 0
PAGE_SIZE_SHIFT = 1
PAGE_SIZES = (None, 4 << 10, 16 << 10, 64 << 10)
"""Bits 1 and 2 of `flags`: the kernel's page size, or unspecified."""
PLACED_ANYWHERE = 1 << 3
"""`flags` bit 3: the base may be anywhere; without it, as low in memory as can be."""


@layout(size=64)
class Arm64ImageHeader(Structure):
    """The first 64 bytes."""

    code0: U32
    code1: U32
    text_offset: U64
    image_size: U64
    flags: U64
    reserved: Annotated[tuple[int, ...], Array(3, "Q")]  # res2, res3, res4
    magic: U32
    pe_offset: U32  # res5
