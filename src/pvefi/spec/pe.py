# SPDX-License-Identifier: GPL-2.0-or-later
"""Names of the PE/COFF format that an EFI loader meets.

Source: Microsoft "PE Format" (learn.microsoft.com/windows/win32/debug/pe-format), the subset that
UEFI 2.10 §2.1.1 takes over.
"""

from __future__ import annotations

from enum import IntFlag
from typing import Annotated

from pvefi.layout import U8, U32, OpenEnum, Scalar, Structure, layout

__all__ = [
    "Characteristic",
    "CHECK_SUM_OFFSET",
    "CompatEntry",
    "DIRECTORIES_OFFSET",
    "Directory",
    "DirectoryEntry",
    "DllCharacteristic",
    "MAX_IMAGE_SIZE",
    "Machine",
    "OPTIONAL_HEADER_OFFSET",
    "OptionalMagic",
    "RELOCATION_BLOCK_HEADER_SIZE",
    "RelocationBlock",
    "RelocationType",
    "SECTION_HEADER_SIZE",
    "SYMBOL_SIZE",
    "SectionCharacteristic",
    "Subsystem",
]

SECTION_HEADER_SIZE = 40
"""IMAGE_SIZEOF_SECTION_HEADER (PE Format "Section Table")."""

RELOCATION_BLOCK_HEADER_SIZE = 8
"""Page RVA and block size (PE Format "Base Relocation Block")."""

SYMBOL_SIZE = 18
"""One entry of the COFF symbol table; the string table stands after it (PE Format "COFF Symbol Table")."""

MAX_IMAGE_SIZE = 1 << 31
"""No loader maps more: relative addresses in code reach 2 GiB, and RVAs above it are not used."""

OPTIONAL_HEADER_OFFSET = 4 + 20
"""Where the optional header stands after the PE signature and the COFF header (PE Format)."""
CHECK_SUM_OFFSET = 64
"""CheckSum in the optional header (PE Format "Optional Header Windows-Specific Fields")."""


class Machine(OpenEnum):
    """IMAGE_FILE_MACHINE_* (PE Format "Machine Types"; UEFI 2.10 §2.1.1 Table 2.2)."""

    UNKNOWN = 0x0
    I386 = 0x14C
    ARM = 0x1C0
    ARMTHUMB_MIXED = 0x1C2
    ARMNT = 0x1C4
    IA64 = 0x200
    EBC = 0xEBC
    RISCV32 = 0x5032
    RISCV64 = 0x5064
    RISCV128 = 0x5128
    LOONGARCH32 = 0x6232
    LOONGARCH64 = 0x6264
    AMD64 = 0x8664
    ARM64 = 0xAA64


class OptionalMagic(OpenEnum):
    """IMAGE_NT_OPTIONAL_HDR*_MAGIC (PE Format "Optional Header")."""

    PE32 = 0x10B
    PE32_PLUS = 0x20B


DIRECTORIES_OFFSET: dict[OptionalMagic, int] = {OptionalMagic.PE32: 96, OptionalMagic.PE32_PLUS: 112}
"""Where the data directories begin in the optional header (PE Format "Optional Header")."""


class Subsystem(OpenEnum):
    """IMAGE_SUBSYSTEM_* (PE Format "Windows Subsystem"; UEFI 2.10 §2.1.1 Table 2.1)."""

    UNKNOWN = 0
    NATIVE = 1
    WINDOWS_GUI = 2
    WINDOWS_CUI = 3
    OS2_CUI = 5
    POSIX_CUI = 7
    NATIVE_WINDOWS = 8
    WINDOWS_CE_GUI = 9
    EFI_APPLICATION = 10
    EFI_BOOT_SERVICE_DRIVER = 11
    EFI_RUNTIME_DRIVER = 12
    EFI_ROM = 13
    XBOX = 14
    WINDOWS_BOOT_APPLICATION = 16

    @property
    def is_efi(self) -> bool:
        """Whether EFI firmware loads images of this subsystem."""
        return Subsystem.EFI_APPLICATION <= self <= Subsystem.EFI_ROM


class Characteristic(IntFlag):
    """IMAGE_FILE_* (PE Format "Characteristics")."""

    RELOCS_STRIPPED = 0x0001
    EXECUTABLE_IMAGE = 0x0002
    LINE_NUMS_STRIPPED = 0x0004
    LOCAL_SYMS_STRIPPED = 0x0008
    AGGRESSIVE_WS_TRIM = 0x0010
    LARGE_ADDRESS_AWARE = 0x0020
    BYTES_REVERSED_LO = 0x0080
    MACHINE_32BIT = 0x0100
    DEBUG_STRIPPED = 0x0200
    REMOVABLE_RUN_FROM_SWAP = 0x0400
    NET_RUN_FROM_SWAP = 0x0800
    SYSTEM = 0x1000
    DLL = 0x2000
    UP_SYSTEM_ONLY = 0x4000
    BYTES_REVERSED_HI = 0x8000


class DllCharacteristic(IntFlag):
    """IMAGE_DLLCHARACTERISTICS_* (PE Format "DLL Characteristics")."""

    HIGH_ENTROPY_VA = 0x0020
    DYNAMIC_BASE = 0x0040
    FORCE_INTEGRITY = 0x0080
    NX_COMPAT = 0x0100
    NO_ISOLATION = 0x0200
    NO_SEH = 0x0400
    NO_BIND = 0x0800
    APPCONTAINER = 0x1000
    WDM_DRIVER = 0x2000
    GUARD_CF = 0x4000
    TERMINAL_SERVER_AWARE = 0x8000


class SectionCharacteristic(IntFlag):
    """IMAGE_SCN_*, those that images carry (PE Format "Section Flags"); ALIGN_* is a number, not flags."""

    CNT_CODE = 0x00000020
    CNT_INITIALIZED_DATA = 0x00000040
    CNT_UNINITIALIZED_DATA = 0x00000080
    ALIGN_MASK = 0x00F00000
    LNK_NRELOC_OVFL = 0x01000000
    MEM_DISCARDABLE = 0x02000000
    MEM_NOT_CACHED = 0x04000000
    MEM_NOT_PAGED = 0x08000000
    MEM_SHARED = 0x10000000
    MEM_EXECUTE = 0x20000000
    MEM_READ = 0x40000000
    MEM_WRITE = 0x80000000


class Directory(OpenEnum):
    """IMAGE_DIRECTORY_ENTRY_* (PE Format "Optional Header Data Directories")."""

    EXPORT = 0
    IMPORT = 1
    RESOURCE = 2
    EXCEPTION = 3
    SECURITY = 4
    BASERELOC = 5
    DEBUG = 6
    ARCHITECTURE = 7
    GLOBALPTR = 8
    TLS = 9
    LOAD_CONFIG = 10
    BOUND_IMPORT = 11
    IAT = 12
    DELAY_IMPORT = 13
    COM_DESCRIPTOR = 14


@layout(size=8)
class DirectoryEntry(Structure):
    """IMAGE_DATA_DIRECTORY."""

    virtual_address: U32
    size: U32


class RelocationType(OpenEnum):
    """IMAGE_REL_BASED_* that x86 images use (PE Format "Base Relocation Types")."""

    ABSOLUTE = 0
    HIGH = 1
    LOW = 2
    HIGHLOW = 3
    HIGHADJ = 4
    DIR64 = 10


@layout(size=RELOCATION_BLOCK_HEADER_SIZE)
class RelocationBlock(Structure):
    """IMAGE_BASE_RELOCATION (PE Format "Base Relocation Block"); 16-bit entries follow."""

    virtual_address: U32  # Page RVA
    size_of_block: U32  # Block Size, this header included


@layout(size=8)
class CompatEntry(Structure):
    """One node of `.compat`: a second entry, for firmware of another machine type.

    Linux drivers/firmware/efi/libstub and arch/x86/boot/header.S ".compat", since 5.7
    (97aa276579b2 "efi/x86: Add true mixed mode entry point into .compat section").
    """

    type: U8  # 1: this format; 0 ends the list
    size: U8
    machine: Annotated[Machine, Scalar("H")]
    entry_point: U32
