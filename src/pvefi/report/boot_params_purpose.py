# SPDX-License-Identifier: GPL-2.0-or-later
"""What each field of the zero page is for, in a few words.

Sources: Linux boot.rst "Details of Header Fields", Documentation/arch/x86/zero-page.rst,
arch/x86/include/uapi/asm/bootparam.h and include/uapi/linux/screen_info.h.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["HALVES", "PLACES", "purpose_of"]

HALVES: Mapping[str, str] = MappingProxyType(
    {
        "screen_info.lfb_base": "screen_info.ext_lfb_base",
        "efi_info.efi_systab": "efi_info.efi_systab_hi",
        "efi_info.efi_memmap": "efi_info.efi_memmap_hi",
        "hdr.ramdisk_image": "ext_ramdisk_image",
        "hdr.ramdisk_size": "ext_ramdisk_size",
        "hdr.cmd_line_ptr": "ext_cmd_line_ptr",
    }
)
"""Fields of 32 bits whose upper half stands elsewhere."""

PLACES = frozenset(
    {
        "screen_info.lfb_base",
        "efi_info.efi_systab",
        "efi_info.efi_memmap",
        "hdr.ramdisk_image",
        "hdr.cmd_line_ptr",
        "hdr.code32_start",
        "hdr.setup_data",
        "acpi_rsdp_addr",
        "tboot_addr",
        "cc_blob_address",
    }
)
"""Fields that hold the address at which something was put."""

_PURPOSES: Mapping[str, str] = MappingProxyType(
    {
        "screen_info.orig_x": "cursor column",
        "screen_info.orig_y": "cursor row",
        "screen_info.ext_mem_k": "memory above 1 MiB in KiB, as the BIOS told it",
        "screen_info.orig_video_page": "display page",
        "screen_info.orig_video_mode": "BIOS video mode",
        "screen_info.orig_video_cols": "text columns",
        "screen_info.orig_video_lines": "text lines",
        "screen_info.orig_video_isVGA": "kind of display",
        "screen_info.orig_video_points": "height of a letter",
        "screen_info.orig_video_ega_bx": "EGA memory and switches",
        "screen_info.flags": "flags of the display",
        "screen_info.lfb_width": "frame buffer's width",
        "screen_info.lfb_height": "frame buffer's height",
        "screen_info.lfb_depth": "frame buffer's bits a pixel",
        "screen_info.lfb_base": "frame buffer's address",
        "screen_info.lfb_size": "frame buffer's size",
        "screen_info.lfb_linelength": "frame buffer's bytes a line",
        "screen_info.cl_magic": "magic of an old command line",
        "screen_info.cl_offset": "offset of an old command line",
        "screen_info.pages": "pages of video memory",
        "screen_info.vesa_attributes": "VESA mode's attributes",
        "screen_info.vesapm_seg": "VESA protected-mode interface, segment",
        "screen_info.vesapm_off": "VESA protected-mode interface, offset",
        "screen_info.capabilities": "what the frame buffer can",
        "tboot_addr": "address of tboot's shared page",
        "acpi_rsdp_addr": "address of ACPI's root pointer",
        "cc_blob_address": "address of the confidential computing blob",
        "efi_info.efi_loader_signature": "EL64 or EL32: EFI is there",
        "efi_info.efi_systab": "address of the EFI system table",
        "efi_info.efi_memdesc_size": "bytes an EFI memory descriptor",
        "efi_info.efi_memdesc_version": "version of EFI memory descriptors",
        "efi_info.efi_memmap": "address of the EFI memory map",
        "efi_info.efi_memmap_size": "bytes of the EFI memory map",
        "alt_mem_k": "memory above 1 MiB in KiB",
        "scratch": "scratch field of the setup code",
        "e820_entries": "entries of the e820 table",
        "eddbuf_entries": "disks in eddbuf",
        "edd_mbr_sig_buf_entries": "disks in edd_mbr_sig_buffer",
        "kbd_status": "keyboard's shift state",
        "secure_boot": "state of Secure Boot",
        "sentinel": "tells a loader that copied too much",
        "hdr.setup_sects": "sectors of setup code after the first",
        "hdr.root_flags": "how root is mounted at first",
        "hdr.syssize": "paragraphs of protected-mode code",
        "hdr.ram_size": "obsolete",
        "hdr.vid_mode": "video mode that is asked for",
        "hdr.root_dev": "default root device",
        "hdr.boot_flag": "magic of a boot sector",
        "hdr.jump": "jump over the header",
        "hdr.header": "magic of the header",
        "hdr.version": "version of the header",
        "hdr.realmode_swtch": "real-mode hook of the loader",
        "hdr.start_sys_seg": "obsolete",
        "hdr.kernel_version": "where the version text is, less 0x200",
        "hdr.type_of_loader": "who booted the kernel",
        "hdr.loadflags": "flags of the boot protocol",
        "hdr.setup_move_size": "bytes of setup to move, old protocols",
        "hdr.code32_start": "address of the 32-bit entry",
        "hdr.ramdisk_image": "address of the initrd",
        "hdr.ramdisk_size": "size of the initrd",
        "hdr.bootsect_kludge": "obsolete",
        "hdr.heap_end_ptr": "end of the setup code's heap",
        "hdr.ext_loader_ver": "extended version of the loader",
        "hdr.ext_loader_type": "extended identifier of the loader",
        "hdr.cmd_line_ptr": "address of the command line",
        "hdr.initrd_addr_max": "highest address an initrd may have",
        "hdr.kernel_alignment": "alignment that the kernel needs",
        "hdr.relocatable_kernel": "whether the kernel may be moved",
        "hdr.min_alignment": "least alignment, a power of two",
        "hdr.xloadflags": "what the kernel can",
        "hdr.cmdline_size": "longest command line",
        "hdr.hardware_subarch": "kind of x86 platform",
        "hdr.hardware_subarch_data": "data of that platform",
        "hdr.payload_offset": "where the compressed kernel begins",
        "hdr.payload_length": "size of the compressed kernel",
        "hdr.setup_data": "address of the first setup_data node",
        "hdr.pref_address": "address that the kernel prefers",
        "hdr.init_size": "memory that the kernel needs to start",
        "hdr.handover_offset": "offset of the EFI handover entry",
        "hdr.kernel_info_offset": "offset of kernel_info",
    }
)

# Groups that are described as a whole.
_GROUPS: Mapping[str, str] = MappingProxyType(
    {
        r"screen_info\.(red|green|blue|rsvd)_(size|pos)": "layout of a pixel",
        r"(.*\.)?(pad\d+|unused\d*|reserved\d*)": "padding, to be zero",
        r"apm_bios_info\..*": "Advanced Power Management BIOS",
        r"ist_info\..*": "Intel SpeedStep BIOS interface",
        r"hd[01]_info": "hard disk parameters, obsolete",
        r"sys_desc_table\..*": "system descriptor table, obsolete",
        r"olpc_ofw_header\..*": "Open Firmware of OLPC",
        r"edid_info": "EDID of the monitor",
        r"edd_mbr_sig_buffer": "disk signatures, as the BIOS has them",
        r"eddbuf.*": "Enhanced Disk Drive data of the BIOS",
    }
)


def purpose_of(name: str) -> str:
    """Return what the field `name` (dotted) is for, '' for one that no document here describes."""
    if name in _PURPOSES:
        return _PURPOSES[name]
    return next((text for pattern, text in _GROUPS.items() if re.fullmatch(pattern, name)), "")
