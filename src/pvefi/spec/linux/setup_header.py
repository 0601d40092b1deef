# SPDX-License-Identifier: GPL-2.0-or-later
"""The setup header of an x86 kernel image: what kernel and boot loader tell each other.

Source: Linux Documentation/arch/x86/boot.rst "The Real-Mode Kernel Header" and
arch/x86/include/uapi/asm/bootparam.h (`struct setup_header`). Field names are those of boot.rst.
"""

from __future__ import annotations

from enum import IntFlag

from pvefi.layout import U8, U16, U32, U64, OpenEnum, Structure, layout

__all__ = [
    "BOOT_FLAG",
    "DEFAULT_SETUP_SECTS",
    "FIELD_SINCE",
    "HANDOVER_64_OFFSET",
    "HEADER_MAGIC",
    "JUMP_OFFSET",
    "KERNEL_INFO_MAGIC",
    "KernelInfo",
    "LINUX64_OFFSET",
    "LoadFlag",
    "LoaderType",
    "HardwareSubarch",
    "SECTOR_SIZE",
    "SETUP_HEADER_OFFSET",
    "SetupHeader",
    "XLoadFlag",
]

SETUP_HEADER_OFFSET = 0x1F1
JUMP_OFFSET = 0x200
"""Where `jump` stands: 0xEB and a signed offset from 0x202, which is also the header's end."""
SECTOR_SIZE = 512
DEFAULT_SETUP_SECTS = 4
"""boot.rst: "if the setup_sects field contains 0, the real value is 4"."""
BOOT_FLAG = 0xAA55
HEADER_MAGIC = 0x53726448  # "HdrS"
KERNEL_INFO_MAGIC = 0x506F544C  # "LToP"
LINUX64_OFFSET = 0x200
"""boot.rst "64-bit Boot Protocol": the entry is the start of the loaded kernel plus this."""
HANDOVER_64_OFFSET = 0x200
"""boot.rst xloadflags bit 3: the 64-bit handover entry is at handover_offset + 0x200."""


class LoadFlag(IntFlag):
    """`loadflags` (boot.rst "Details of Header Fields")."""

    LOADED_HIGH = 1 << 0
    KASLR_FLAG = 1 << 1
    QUIET_FLAG = 1 << 5
    KEEP_SEGMENTS = 1 << 6
    CAN_USE_HEAP = 1 << 7


class XLoadFlag(IntFlag):
    """`xloadflags` (boot.rst; bits 5 to 7 in arch/x86/include/uapi/asm/bootparam.h)."""

    XLF_KERNEL_64 = 1 << 0
    XLF_CAN_BE_LOADED_ABOVE_4G = 1 << 1
    XLF_EFI_HANDOVER_32 = 1 << 2
    XLF_EFI_HANDOVER_64 = 1 << 3
    XLF_EFI_KEXEC = 1 << 4
    XLF_5LEVEL = 1 << 5
    XLF_5LEVEL_ENABLED = 1 << 6
    XLF_MEM_ENCRYPTION = 1 << 7


class HardwareSubarch(OpenEnum):
    """`hardware_subarch` (enum x86_hardware_subarch)."""

    PC = 0
    LGUEST = 1
    XEN = 2
    INTEL_MID = 3
    CE4100 = 4


class LoaderType(OpenEnum):
    """The high four bits of `type_of_loader`, or `ext_loader_type` + 0x10 when those are 0xE (boot.rst)."""

    LILO = 0x0
    LOADLIN = 0x1
    BOOTSECT = 0x2
    SYSLINUX = 0x3
    ETHERBOOT = 0x4
    ELILO = 0x5
    GRUB = 0x7
    U_BOOT = 0x8
    XEN = 0x9
    GUJIN = 0xA
    QEMU = 0xB
    ARCTURUS = 0xC
    KEXEC = 0xD
    EXTENDED = 0xE
    UNDEFINED = 0xF
    MINIMAL_LINUX_BOOTLOADER = 0x11
    OVMF = 0x12
    BAREBOX = 0x13


@layout(size=0x26C - SETUP_HEADER_OFFSET)
class SetupHeader(Structure):
    """`struct setup_header`, protocol 2.15; older kernels have less of it, see `FIELD_SINCE`."""

    setup_sects: U8  # 0x1f1
    root_flags: U16  # 0x1f2
    syssize: U32  # 0x1f4, paragraphs of 16 bytes
    ram_size: U16  # 0x1f8
    vid_mode: U16  # 0x1fa
    root_dev: U16  # 0x1fc
    boot_flag: U16  # 0x1fe
    jump: U16  # 0x200
    header: U32  # 0x202
    version: U16  # 0x206
    realmode_swtch: U32  # 0x208
    start_sys_seg: U16  # 0x20c
    kernel_version: U16  # 0x20e
    type_of_loader: U8  # 0x210
    loadflags: U8  # 0x211
    setup_move_size: U16  # 0x212
    code32_start: U32  # 0x214
    ramdisk_image: U32  # 0x218
    ramdisk_size: U32  # 0x21c
    bootsect_kludge: U32  # 0x220
    heap_end_ptr: U16  # 0x224
    ext_loader_ver: U8  # 0x226
    ext_loader_type: U8  # 0x227
    cmd_line_ptr: U32  # 0x228
    initrd_addr_max: U32  # 0x22c
    kernel_alignment: U32  # 0x230
    relocatable_kernel: U8  # 0x234
    min_alignment: U8  # 0x235
    xloadflags: U16  # 0x236
    cmdline_size: U32  # 0x238
    hardware_subarch: U32  # 0x23c
    hardware_subarch_data: U64  # 0x240
    payload_offset: U32  # 0x248
    payload_length: U32  # 0x24c
    setup_data: U64  # 0x250
    pref_address: U64  # 0x258
    init_size: U32  # 0x260
    handover_offset: U32  # 0x264
    kernel_info_offset: U32  # 0x268


FIELD_SINCE: dict[str, int] = {
    "header": 0x0200,
    "version": 0x0200,
    "jump": 0x0200,
    "realmode_swtch": 0x0200,
    "start_sys_seg": 0x0200,
    "kernel_version": 0x0200,
    "type_of_loader": 0x0200,
    "loadflags": 0x0200,
    "setup_move_size": 0x0200,
    "code32_start": 0x0200,
    "ramdisk_image": 0x0200,
    "ramdisk_size": 0x0200,
    "bootsect_kludge": 0x0200,
    "heap_end_ptr": 0x0201,
    "ext_loader_ver": 0x0202,
    "ext_loader_type": 0x0202,
    "cmd_line_ptr": 0x0202,
    "initrd_addr_max": 0x0203,
    "kernel_alignment": 0x0205,
    "relocatable_kernel": 0x0205,
    "min_alignment": 0x020A,
    "xloadflags": 0x020C,
    "cmdline_size": 0x0206,
    "hardware_subarch": 0x0207,
    "hardware_subarch_data": 0x0207,
    "payload_offset": 0x0208,
    "payload_length": 0x0208,
    "setup_data": 0x0209,
    "pref_address": 0x020A,
    "init_size": 0x020A,
    "handover_offset": 0x020B,
    "kernel_info_offset": 0x020F,
}
"""The protocol version that brought each field (boot.rst, column "Proto"); fields not named are in all."""


@layout(size=16)
class KernelInfo(Structure):
    """The fixed part of kernel_info (boot.rst "The kernel_info", protocol 2.15)."""

    header: U32  # "LToP"
    size: U32
    size_total: U32
    setup_type_max: U32
