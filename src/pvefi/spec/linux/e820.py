# SPDX-License-Identifier: GPL-2.0-or-later
"""The e820 memory map as the boot protocol carries it.

Source: Linux arch/x86/include/uapi/asm/bootparam.h (`struct boot_e820_entry`) and
arch/x86/include/asm/e820/types.h (`enum e820_type`).
"""

from __future__ import annotations

from typing import Annotated

from pvefi.layout import U64, OpenEnum, Scalar, Structure, layout

__all__ = ["E820Entry", "E820Type", "MAX_ENTRIES"]

MAX_ENTRIES = 128
"""E820_MAX_ENTRIES_ZEROPAGE: more go into a setup_data node of type E820_EXT."""


class E820Type(OpenEnum):
    """E820_TYPE_*."""

    RAM = 1
    RESERVED = 2
    ACPI = 3
    NVS = 4
    UNUSABLE = 5
    PMEM = 7
    PRAM = 12
    RESERVED_KERN = 128  # until Linux 6.17
    SOFT_RESERVED = 0xEFFFFFFF


@layout(size=20)
class E820Entry(Structure):
    """struct boot_e820_entry."""

    addr: U64
    size: U64
    type: Annotated[E820Type, Scalar("I")]
