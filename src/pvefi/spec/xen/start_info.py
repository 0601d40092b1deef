# SPDX-License-Identifier: GPL-2.0-or-later
"""What a PVH guest finds at %ebx — xen/include/public/arch-x86/hvm/start_info.h.

The trampoline hands the address of this structure to the environment, which makes its memory map, its
ACPI tables, its command line and its initial ramdisk of it.
"""

from __future__ import annotations

from typing import Annotated

from pvefi.layout import U32, U64, OpenEnum, Scalar, Structure, layout

__all__ = [
    "XEN_HVM_START_MAGIC_VALUE",
    "HvmMemmapTableEntry",
    "HvmModlistEntry",
    "HvmStartInfo",
    "HvmStartInfoV0",
    "MemmapType",
]

XEN_HVM_START_MAGIC_VALUE = 0x336EC578  # "xEn3" with the 0x80 bit of the "E" set


class MemmapType(OpenEnum):
    """XEN_HVM_MEMMAP_TYPE_*: the address range types of ACPI 6.5 §15, and Xen's own above 0xF0000000."""

    RAM = 1
    RESERVED = 2
    ACPI = 3
    NVS = 4
    UNUSABLE = 5
    DISABLED = 6
    PMEM = 7
    SHARED_INFO = 0xF0000001
    GRANT_TABLE = 0xF0000002
    GNTTAB_STATUS = 0xF0000003
    FOREIGN_REG = 0xF0000004


@layout(size=40)
class HvmStartInfoV0(Structure):
    """hvm_start_info, version 0: it ends before the memory map; an address of 0 means absent."""

    magic: U32
    version: U32
    flags: U32
    nr_modules: U32
    modlist_paddr: U64
    cmdline_paddr: U64
    rsdp_paddr: U64


@layout(size=56)
class HvmStartInfo(Structure):
    """hvm_start_info, version 1 and later; `memmap_entries` is 0 where the map is left out."""

    magic: U32
    version: U32
    flags: U32
    nr_modules: U32
    modlist_paddr: U64
    cmdline_paddr: U64
    rsdp_paddr: U64
    memmap_paddr: U64 = 0
    memmap_entries: U32 = 0
    reserved: U32 = 0

    @classmethod
    def read(cls, data: bytes | bytearray | memoryview, offset: int = 0) -> HvmStartInfo:
        """Return the structure at `offset`, whichever its version; ValueError when it is none.

        Of a version 0 only the 40 bytes that it has are looked at, and its memory map is absent.
        """
        there = max(len(data) - offset, 0) if offset >= 0 else 0
        if there < HvmStartInfoV0.SIZE:
            raise ValueError(f"hvm_start_info takes {HvmStartInfoV0.SIZE} bytes, {there} are there")
        start = HvmStartInfoV0.unpack(data, offset)
        if start.magic != XEN_HVM_START_MAGIC_VALUE:
            raise ValueError(
                f"hvm_start_info begins with {start.magic:#x}, expected {XEN_HVM_START_MAGIC_VALUE:#x}"
            )
        if start.version == 0:
            return cls.unpack(start.pack() + bytes(cls.SIZE - HvmStartInfoV0.SIZE))
        # "New versions are guaranteed to be backwards-compatible": later ones are read as version 1.
        if there < cls.SIZE:
            raise ValueError(
                f"hvm_start_info version {start.version} takes {cls.SIZE} bytes, {there} are there"
            )
        return cls.unpack(data, offset)


@layout(size=32)
class HvmModlistEntry(Structure):
    """hvm_modlist_entry: one module, such as an initial ramdisk."""

    paddr: U64
    size: U64
    cmdline_paddr: U64 = 0
    reserved: U64 = 0


@layout(size=24)
class HvmMemmapTableEntry(Structure):
    """hvm_memmap_table_entry: one range of guest physical memory, its size in bytes."""

    addr: U64
    size: U64
    type: Annotated[MemmapType, Scalar("I")]
    reserved: U32 = 0
