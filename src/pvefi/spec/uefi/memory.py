# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory services' types and the memory descriptor — UEFI 2.10 §7.2."""

from __future__ import annotations

from enum import IntFlag
from typing import Annotated

from pvefi.layout import U32, U64, OpenEnum, Scalar, Structure, layout

__all__ = [
    "EFI_MEMORY_DESCRIPTOR_VERSION",
    "OEM_MEMORY_TYPES",
    "OS_MEMORY_TYPES",
    "PAGE_SIZE",
    "AllocateType",
    "MemoryAttribute",
    "MemoryDescriptor",
    "MemoryType",
]

PAGE_SIZE = 4096  # UEFI 2.10 §7.2: EFI pages are 4 KiB
EFI_MEMORY_DESCRIPTOR_VERSION = 1  # UEFI 2.10 §7.2.3
OEM_MEMORY_TYPES = range(0x70000000, 0x80000000)  # UEFI 2.10 §7.2.1: reserved for OEM use
OS_MEMORY_TYPES = range(0x80000000, 0x100000000)  # UEFI 2.10 §7.2.1: reserved for UEFI OS loaders


class AllocateType(OpenEnum):
    """EFI_ALLOCATE_TYPE — UEFI 2.10 §7.2.1."""

    ANY_PAGES = 0
    MAX_ADDRESS = 1
    ADDRESS = 2


class MemoryType(OpenEnum):
    """EFI_MEMORY_TYPE — UEFI 2.10 §7.2.1."""

    RESERVED = 0
    LOADER_CODE = 1
    LOADER_DATA = 2
    BOOT_SERVICES_CODE = 3
    BOOT_SERVICES_DATA = 4
    RUNTIME_SERVICES_CODE = 5
    RUNTIME_SERVICES_DATA = 6
    CONVENTIONAL = 7
    UNUSABLE = 8
    ACPI_RECLAIM = 9
    ACPI_NVS = 10
    MEMORY_MAPPED_IO = 11
    MEMORY_MAPPED_IO_PORT_SPACE = 12
    PAL_CODE = 13
    PERSISTENT = 14
    UNACCEPTED = 15


class MemoryAttribute(IntFlag):
    """Memory attribute bits — UEFI 2.10 §7.2.3."""

    UC = 1 << 0
    WC = 1 << 1
    WT = 1 << 2
    WB = 1 << 3
    UCE = 1 << 4
    WP = 1 << 12
    RP = 1 << 13
    XP = 1 << 14
    NV = 1 << 15
    MORE_RELIABLE = 1 << 16
    RO = 1 << 17
    SP = 1 << 18
    CPU_CRYPTO = 1 << 19
    RUNTIME = 1 << 63


@layout(size=40)
class MemoryDescriptor(Structure):
    """EFI_MEMORY_DESCRIPTOR — UEFI 2.10 §7.2.3; addresses are guest physical, sizes in 4 KiB pages."""

    type: Annotated[MemoryType, Scalar("I")]
    _pad: U32
    physical_start: U64
    virtual_start: U64
    number_of_pages: U64
    attribute: U64
