# SPDX-License-Identifier: GPL-2.0-or-later
"""What a field of the zero page means, in the words of its documents.

Sources: Linux boot.rst "Details of Header Fields" and arch/x86/include/uapi/asm/bootparam.h.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import IntFlag
from types import MappingProxyType

from pvefi.layout import OpenEnum
from pvefi.report.text import size_text
from pvefi.spec.linux.boot_params import SENTINEL, BootParams
from pvefi.spec.linux.screen_info import VideoCapability
from pvefi.spec.linux.setup_header import (
    BOOT_FLAG,
    HEADER_MAGIC,
    SECTOR_SIZE,
    HardwareSubarch,
    LoadFlag,
    XLoadFlag,
)
from pvefi.trace.spelling import escaped, member_name

__all__ = ["meaning_of"]

Meaning = Callable[[int, BootParams], str]

_PARAGRAPH = 16
_EXTENDED_LOADER = 0xE  # boot.rst "type_of_loader": the id is in ext_loader_type

# boot.rst "type_of_loader", the assigned identifiers.
_LOADERS: Mapping[int, str] = MappingProxyType(
    {
        0x0: "LILO",
        0x1: "Loadlin",
        0x2: "bootsect-loader",
        0x3: "Syslinux",
        0x4: "Etherboot/gPXE/iPXE",
        0x5: "ELILO",
        0x7: "GRUB",
        0x8: "U-Boot",
        0x9: "Xen",
        0xA: "Gujin",
        0xB: "Qemu",
        0xC: "Arcturus Networks uCbootloader",
        0xD: "kexec-tools",
        0xF: "special",
        0x10: "reserved",
        0x11: "Minimal Linux Bootloader",
        0x12: "OVMF UEFI virtualization stack",
        0x13: "barebox",
    }
)

# boot.rst "vid_mode", the special values.
_VIDEO_MODES: Mapping[int, str] = MappingProxyType({0xFFFF: "normal", 0xFFFE: "extended", 0xFFFD: "ask"})


def meaning_of(name: str, value: object, params: BootParams) -> str:
    """Return what the value of the field `name` (dotted) means, '' where the number says it all."""
    match value:
        case bytes() if any(value):
            text = value.rstrip(b"\0")
            return f'"{text.decode("ascii")}"' if text.isascii() and text.decode().isprintable() else ""
        case OpenEnum():
            return escaped(value.name) if value.known else ""
        case int() if value and name in _MEANINGS:
            return _MEANINGS[name](value, params)
    return ""


def _flags(kind: type[IntFlag]) -> Meaning:
    return lambda value, _: member_name(kind(value))


def _size(unit: int = 1) -> Meaning:
    return lambda value, _: size_text(value * unit)


def _with_high(name: str, joined: Callable[[BootParams], int]) -> Meaning:
    """Return the meaning of a low half: the whole, when its high half `name` is not zero."""

    def meaning(value: int, params: BootParams) -> str:
        whole = joined(params)
        return f"{whole:#x} with {name}" if whole != value else ""

    return meaning


def _loader(value: int, params: BootParams) -> str:
    number, version = value >> 4, value & 0xF
    if number == _EXTENDED_LOADER:
        number = params.hdr.ext_loader_type + 0x10
    version += params.hdr.ext_loader_ver << 4
    if value == 0xFF:
        return "a loader without an identifier"
    stub = "; as Linux's EFI stub does" if value == 0x21 else ""  # drivers/firmware/efi/libstub/x86-stub.c
    return f"{_LOADERS.get(number, f'loader {number:#x}')}, version {version}{stub}"


def _subarch(value: int, _: BootParams) -> str:
    kind = HardwareSubarch(value)
    return kind.name if kind.known else ""


def _ramdisk_size(_: int, params: BootParams) -> str:
    return size_text(params.ramdisk_size)


def _efi_memmap_size(value: int, params: BootParams) -> str:
    size = params.efi_info.efi_memdesc_size
    return f"{value // size} descriptors" if size and value % size == 0 else ""


_MEANINGS: Mapping[str, Meaning] = MappingProxyType(
    {
        "screen_info.ext_mem_k": _size(1024),
        "screen_info.lfb_base": _with_high(
            "ext_lfb_base", lambda params: params.screen_info.ext_lfb_base << 32 | params.screen_info.lfb_base
        ),
        "screen_info.capabilities": _flags(VideoCapability),
        "efi_info.efi_systab": _with_high(
            "efi_systab_hi", lambda params: params.efi_info.system_table_address
        ),
        "efi_info.efi_memmap": _with_high("efi_memmap_hi", lambda params: params.efi_info.memory_map_address),
        "efi_info.efi_memmap_size": _efi_memmap_size,
        "alt_mem_k": _size(1024),
        "sentinel": lambda value, _: "not cleared by the boot loader" if value == SENTINEL else "",
        "hdr.setup_sects": lambda value, _: f"{size_text((value + 1) * SECTOR_SIZE)} with the boot sector",
        "hdr.root_flags": lambda _, __: "root is mounted read-only",
        "hdr.syssize": _size(_PARAGRAPH),
        "hdr.vid_mode": lambda value, _: _VIDEO_MODES.get(value, ""),
        "hdr.boot_flag": lambda value, _: "" if value == BOOT_FLAG else f"should be {BOOT_FLAG:#x}",
        "hdr.header": lambda value, _: '"HdrS"' if value == HEADER_MAGIC else 'should be "HdrS"',
        "hdr.version": lambda value, _: f"boot protocol {value >> 8}.{value & 0xFF:02d}",
        "hdr.type_of_loader": _loader,
        "hdr.loadflags": _flags(LoadFlag),
        "hdr.ramdisk_image": _with_high("ext_ramdisk_image", lambda params: params.ramdisk_address),
        "hdr.ramdisk_size": _ramdisk_size,
        "hdr.cmd_line_ptr": _with_high("ext_cmd_line_ptr", lambda params: params.command_line_address),
        "hdr.kernel_alignment": _size(),
        "hdr.min_alignment": lambda value, _: size_text(1 << value) if value < 64 else "",
        "hdr.xloadflags": _flags(XLoadFlag),
        "hdr.cmdline_size": lambda value, _: f"{value} characters",
        "hdr.hardware_subarch": _subarch,
        "hdr.payload_length": _size(),
        "hdr.init_size": _size(),
    }
)
