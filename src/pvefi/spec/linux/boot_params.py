# SPDX-License-Identifier: GPL-2.0-or-later
"""`struct boot_params`, the zero page: what an x86 kernel is told at its 32-bit and 64-bit entries.

Source: Linux Documentation/arch/x86/zero-page.rst and arch/x86/include/uapi/asm/bootparam.h. The EFI stub
fills one itself; at the hand-off its address is in rsi.
"""

from __future__ import annotations

from typing import Annotated

from pvefi.layout import U8, U16, U32, U64, Array, Bytes, OpenEnum, Scalar, Structure, layout
from pvefi.spec.linux.e820 import MAX_ENTRIES, E820Entry
from pvefi.spec.linux.edd import MAX_EDD_INFOS, MAX_MBR_SIGNATURES, EddInfo
from pvefi.spec.linux.screen_info import ScreenInfo
from pvefi.spec.linux.setup_header import SETUP_HEADER_OFFSET, SetupHeader

__all__ = [
    "ApmBiosInfo",
    "BootParams",
    "EFI32_LOADER_SIGNATURE",
    "EFI64_LOADER_SIGNATURE",
    "EfiInfo",
    "IstInfo",
    "OlpcOfwHeader",
    "SENTINEL",
    "SecureBootMode",
    "SysDescTable",
]

EFI32_LOADER_SIGNATURE = b"EL32"
EFI64_LOADER_SIGNATURE = b"EL64"
"""EFI64_LOADER_SIGNATURE (arch/x86/include/asm/efi.h)."""
SENTINEL = 0xFF
"""A loader that copied the boot sector too generously left this in `sentinel`; then fields are cleared."""

_SETUP_HEADER_END = SETUP_HEADER_OFFSET + SetupHeader.SIZE
_MBR_SIGNATURES = 0x290


class SecureBootMode(OpenEnum):
    """enum efi_secureboot_mode (include/linux/efi.h)."""

    UNSET = 0
    UNKNOWN = 1
    DISABLED = 2
    ENABLED = 3


@layout(size=20)
class ApmBiosInfo(Structure):
    """struct apm_bios_info (include/uapi/linux/apm_bios.h)."""

    version: U16
    cseg: U16
    offset: U32
    cseg_16: U16
    dseg: U16
    flags: U16
    cseg_len: U16
    cseg_16_len: U16
    dseg_len: U16


@layout(size=16)
class IstInfo(Structure):
    """struct ist_info (arch/x86/include/uapi/asm/ist.h), Intel SpeedStep."""

    signature: U32
    command: U32
    event: U32
    perf_level: U32


@layout(size=16)
class SysDescTable(Structure):
    """struct sys_desc_table, obsolete."""

    length: U16
    table: Annotated[bytes, Bytes(14)]


@layout(size=16)
class OlpcOfwHeader(Structure):
    """struct olpc_ofw_header."""

    ofw_magic: U32
    ofw_version: U32
    cif_handler: U32
    irq_desc_table: U32


@layout(size=32)
class EfiInfo(Structure):
    """struct efi_info: where the EFI system table and memory map are."""

    efi_loader_signature: Annotated[bytes, Bytes(4)]
    efi_systab: U32
    efi_memdesc_size: U32
    efi_memdesc_version: U32
    efi_memmap: U32
    efi_memmap_size: U32
    efi_systab_hi: U32
    efi_memmap_hi: U32

    @property
    def system_table_address(self) -> int:
        """Physical address of the EFI system table, both halves."""
        return self.efi_systab_hi << 32 | self.efi_systab

    @property
    def memory_map_address(self) -> int:
        """Physical address of the EFI memory map, both halves."""
        return self.efi_memmap_hi << 32 | self.efi_memmap


@layout(size=0x1000)
class BootParams(Structure):
    """struct boot_params."""

    screen_info: ScreenInfo  # 0x000
    apm_bios_info: ApmBiosInfo  # 0x040
    pad2: Annotated[bytes, Bytes(4)]  # 0x054
    tboot_addr: U64  # 0x058
    ist_info: IstInfo  # 0x060
    acpi_rsdp_addr: U64  # 0x070
    pad3: Annotated[bytes, Bytes(8)]  # 0x078
    hd0_info: Annotated[bytes, Bytes(16)]  # 0x080
    hd1_info: Annotated[bytes, Bytes(16)]  # 0x090
    sys_desc_table: SysDescTable  # 0x0a0
    olpc_ofw_header: OlpcOfwHeader  # 0x0b0
    ext_ramdisk_image: U32  # 0x0c0
    ext_ramdisk_size: U32  # 0x0c4
    ext_cmd_line_ptr: U32  # 0x0c8
    pad4: Annotated[bytes, Bytes(112)]  # 0x0cc
    cc_blob_address: U32  # 0x13c
    edid_info: Annotated[bytes, Bytes(128)]  # 0x140
    efi_info: EfiInfo  # 0x1c0
    alt_mem_k: U32  # 0x1e0
    scratch: U32  # 0x1e4
    e820_entries: U8  # 0x1e8
    eddbuf_entries: U8  # 0x1e9
    edd_mbr_sig_buf_entries: U8  # 0x1ea
    kbd_status: U8  # 0x1eb
    secure_boot: Annotated[SecureBootMode, Scalar("B")]  # 0x1ec
    pad5: Annotated[bytes, Bytes(2)]  # 0x1ed
    sentinel: U8  # 0x1ef
    pad6: Annotated[bytes, Bytes(1)]  # 0x1f0
    hdr: SetupHeader  # 0x1f1
    pad7: Annotated[bytes, Bytes(_MBR_SIGNATURES - _SETUP_HEADER_END)]
    edd_mbr_sig_buffer: Annotated[tuple[int, ...], Array(MAX_MBR_SIGNATURES, "I")]  # 0x290
    e820_table: Annotated[tuple[E820Entry, ...], Array(MAX_ENTRIES)]  # 0x2d0
    pad8: Annotated[bytes, Bytes(48)]  # 0xcd0
    eddbuf: Annotated[tuple[EddInfo, ...], Array(MAX_EDD_INFOS)]  # 0xd00
    pad9: Annotated[bytes, Bytes(276)]  # 0xeec

    @property
    def command_line_address(self) -> int:
        """Address of the command line: cmd_line_ptr with its high half."""
        return self.ext_cmd_line_ptr << 32 | self.hdr.cmd_line_ptr

    @property
    def ramdisk_address(self) -> int:
        """Address of the initrd: ramdisk_image with its high half."""
        return self.ext_ramdisk_image << 32 | self.hdr.ramdisk_image

    @property
    def ramdisk_size(self) -> int:
        """Size of the initrd, both halves."""
        return self.ext_ramdisk_size << 32 | self.hdr.ramdisk_size

    @property
    def memory_map(self) -> tuple[E820Entry, ...]:
        """The e820 entries in use."""
        return self.e820_table[: self.e820_entries]
