# SPDX-License-Identifier: GPL-2.0-or-later
"""The e820 memory map as the boot protocol carries it.

Source: Linux arch/x86/include/uapi/asm/bootparam.h (`struct boot_e820_entry`) and
arch/x86/include/asm/e820/types.h (`enum e820_type`).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated

from pvefi.layout import U64, OpenEnum, Scalar, Structure, layout
from pvefi.spec.uefi.memory import MemoryAttribute, MemoryDescriptor, MemoryType

__all__ = ["E820Entry", "E820Type", "MAX_ENTRIES", "type_by_stub"]

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


_BY_STUB: Mapping[MemoryType, E820Type] = MappingProxyType(
    {
        MemoryType.RESERVED: E820Type.RESERVED,
        MemoryType.LOADER_CODE: E820Type.RAM,
        MemoryType.LOADER_DATA: E820Type.RAM,
        MemoryType.BOOT_SERVICES_CODE: E820Type.RAM,
        MemoryType.BOOT_SERVICES_DATA: E820Type.RAM,
        MemoryType.RUNTIME_SERVICES_CODE: E820Type.RESERVED,
        MemoryType.RUNTIME_SERVICES_DATA: E820Type.RESERVED,
        MemoryType.CONVENTIONAL: E820Type.RAM,
        MemoryType.UNUSABLE: E820Type.UNUSABLE,
        MemoryType.ACPI_RECLAIM: E820Type.ACPI,
        MemoryType.ACPI_NVS: E820Type.NVS,
        MemoryType.MEMORY_MAPPED_IO: E820Type.RESERVED,
        MemoryType.MEMORY_MAPPED_IO_PORT_SPACE: E820Type.RESERVED,
        MemoryType.PAL_CODE: E820Type.RESERVED,
        MemoryType.PERSISTENT: E820Type.PMEM,
        MemoryType.UNACCEPTED: E820Type.RAM,
    }
)


def type_by_stub(descriptor: MemoryDescriptor) -> E820Type | None:
    """Return what Linux's EFI stub makes of a descriptor, None for what it leaves out of e820.

    drivers/firmware/efi/libstub/x86-stub.c, setup_e820.
    """
    kind = _BY_STUB.get(descriptor.type)
    if kind is E820Type.RAM and descriptor.attribute & MemoryAttribute.SP:
        return E820Type.SOFT_RESERVED
    return kind
