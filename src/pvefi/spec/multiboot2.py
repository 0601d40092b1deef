# SPDX-License-Identifier: GPL-2.0-or-later
"""The Multiboot2 header and its tags.

Source: "Multiboot2 Specification version 2.0" "OS image format" and "Machine state".
"""

from __future__ import annotations

from enum import IntFlag
from typing import Annotated

from pvefi.layout import U16, U32, OpenEnum, Scalar, Structure, layout

__all__ = [
    "ALIGNMENT",
    "Architecture",
    "HeaderTag",
    "InformationTag",
    "LOAD_FROM_START",
    "MAGIC",
    "Multiboot2Header",
    "OPTIONAL",
    "Preference",
    "SEARCH_SIZE",
    "TAG_FIELDS",
    "TagHeader",
    "ConsoleFlag",
]

MAGIC = 0xE85250D6
SEARCH_SIZE = 32768
""""OS image format": the header is within the first 32768 bytes, and 64-bit aligned; so is every tag."""
ALIGNMENT = 8
OPTIONAL = 1 << 0
"""In a tag's `flags`: the loader may ignore the tag when it does not support it."""
LOAD_FROM_START = 0xFFFFFFFF
"""load_addr of the address tag: "the file must be loaded from its beginning"."""


class Architecture(OpenEnum):
    """`architecture` of the header."""

    I386 = 0
    MIPS32 = 4


class HeaderTag(OpenEnum):
    """`type` of a header tag ("Header tags")."""

    END = 0
    INFORMATION_REQUEST = 1
    ADDRESS = 2
    ENTRY_ADDRESS = 3
    CONSOLE_FLAGS = 4
    FRAMEBUFFER = 5
    MODULE_ALIGN = 6
    EFI_BOOT_SERVICES = 7
    ENTRY_ADDRESS_EFI32 = 8
    ENTRY_ADDRESS_EFI64 = 9
    RELOCATABLE = 10


class InformationTag(OpenEnum):
    """`type` of a tag in the boot information, which a kernel requests ("Boot information")."""

    CMDLINE = 1
    BOOT_LOADER_NAME = 2
    MODULE = 3
    BASIC_MEMINFO = 4
    BOOTDEV = 5
    MMAP = 6
    VBE = 7
    FRAMEBUFFER = 8
    ELF_SECTIONS = 9
    APM = 10
    EFI32 = 11
    EFI64 = 12
    SMBIOS = 13
    ACPI_OLD = 14
    ACPI_NEW = 15
    NETWORK = 16
    EFI_MMAP = 17
    EFI_BS = 18
    EFI32_IH = 19
    EFI64_IH = 20
    LOAD_BASE_ADDR = 21


class Preference(OpenEnum):
    """`preference` of the relocatable tag."""

    NONE = 0
    LOWEST = 1
    HIGHEST = 2


class ConsoleFlag(IntFlag):
    """`console_flags` of the flags tag."""

    CONSOLE_REQUIRED = 1 << 0
    EGA_TEXT_SUPPORTED = 1 << 1


@layout(size=16)
class Multiboot2Header(Structure):
    """The fixed part of the header; the sum of the four is zero, tags follow."""

    magic: U32
    architecture: Annotated[Architecture, Scalar("I")]
    header_length: U32
    checksum: U32


@layout(size=8)
class TagHeader(Structure):
    """What every header tag begins with; `size` counts it."""

    type: Annotated[HeaderTag, Scalar("H")]
    flags: U16
    size: U32


TAG_FIELDS: dict[HeaderTag, tuple[str, ...]] = {
    HeaderTag.ADDRESS: ("header_addr", "load_addr", "load_end_addr", "bss_end_addr"),
    HeaderTag.ENTRY_ADDRESS: ("entry_addr",),
    HeaderTag.CONSOLE_FLAGS: ("console_flags",),
    HeaderTag.FRAMEBUFFER: ("width", "height", "depth"),
    HeaderTag.ENTRY_ADDRESS_EFI32: ("entry_addr",),
    HeaderTag.ENTRY_ADDRESS_EFI64: ("entry_addr",),
    HeaderTag.RELOCATABLE: ("min_addr", "max_addr", "align", "preference"),
}
"""The 32-bit words that follow a tag's header, by name; INFORMATION_REQUEST has a row of InformationTags."""
