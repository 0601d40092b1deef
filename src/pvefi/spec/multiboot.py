# SPDX-License-Identifier: GPL-2.0-or-later
"""The Multiboot header: how a kernel asks a boot loader such as GRUB to load it.

Source: "Multiboot Specification version 0.6.96" "OS image format" and "Machine state".
"""

from __future__ import annotations

from enum import IntFlag

from pvefi.layout import U32, Structure, layout

__all__ = [
    "ALIGNMENT",
    "AddressFields",
    "GraphicsFields",
    "MAGIC",
    "MultibootFlag",
    "MultibootHeader",
    "SEARCH_SIZE",
]

MAGIC = 0x1BADB002
SEARCH_SIZE = 8192
""""OS image format": the header is "contained completely within the first 8192 bytes"."""
ALIGNMENT = 4


class MultibootFlag(IntFlag):
    """`flags` ("The magic fields of Multiboot header"); bits 0 to 15 must be understood by the loader."""

    PAGE_ALIGN = 1 << 0
    MEMORY_INFO = 1 << 1
    VIDEO_MODE = 1 << 2
    AOUT_KLUDGE = 1 << 16


@layout(size=12)
class MultibootHeader(Structure):
    """The part that every header has; the sum of the three is zero."""

    magic: U32
    flags: U32
    checksum: U32


@layout(size=20)
class AddressFields(Structure):
    """The fields at offset 12, valid with AOUT_KLUDGE: where to load a file that is no ELF."""

    header_addr: U32
    load_addr: U32
    load_end_addr: U32  # 0: up to the end of the file
    bss_end_addr: U32  # 0: no .bss
    entry_addr: U32


@layout(size=16)
class GraphicsFields(Structure):
    """The fields at offset 32, valid with VIDEO_MODE: a recommendation."""

    mode_type: U32  # 0: linear graphics, 1: EGA text
    width: U32
    height: U32
    depth: U32
