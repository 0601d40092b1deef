# SPDX-License-Identifier: GPL-2.0-or-later
"""Says in a few words what a file is: a kind of image, or what else it is when it is none."""

from __future__ import annotations

import struct
from typing import NoReturn

from pvefi.errors import ImageError
from pvefi.image.decompression import compression_of
from pvefi.image.elf import IDENT_CLASS, IDENT_DATA, Elf64Header, ElfClass, ElfMachine, ElfType
from pvefi.image.initrd import initrd_text
from pvefi.image.model import Contents, Entry, EntryKind
from pvefi.image.payload import peek
from pvefi.image.pe import PeImage
from pvefi.image.vmlinux import Vmlinux
from pvefi.layout import Guid
from pvefi.spec.pe import Machine, Subsystem

__all__ = ["EXPECTED", "describe", "recognize", "refuse", "refuse_foreign_elf", "refuse_program"]

EXPECTED = "a PE image for EFI, a bzImage or a vmlinux"

_SUBSYSTEMS = {
    Subsystem.EFI_APPLICATION: "EFI application",
    Subsystem.EFI_BOOT_SERVICE_DRIVER: "EFI boot service driver",
    Subsystem.EFI_RUNTIME_DRIVER: "EFI runtime driver",
    Subsystem.EFI_ROM: "EFI option ROM",
}
_MACHINES = {
    Machine.AMD64: "x86-64",
    Machine.I386: "i386",
    Machine.ARM64: "arm64",
    Machine.ARMTHUMB_MIXED: "arm",
    Machine.ARMNT: "arm",
    Machine.EBC: "EFI byte code",
}

_FIRMWARE_VOLUME = (0x28, b"_FVH")
"""EFI_FIRMWARE_VOLUME_HEADER.Signature (PI 1.8 vol. 3 "Firmware Volume Header")."""
_FIRMWARE_VOLUME_STARTS = (0, 0x1000)
"""Firmware for arm64 has its reset code in the first page (QEMU_EFI.fd of EDK2's ArmVirtPkg)."""
_FILE_SYSTEM_GUID_AT = 0x10
_VARIABLE_STORE_GUID = Guid.parse("fff12b8d-7696-4c8b-a985-2747075b4f50")  # EFI_SYSTEM_NV_DATA_FV_GUID

_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0x38, b"RSC\x05", "a raw RISC-V kernel Image without an EFI stub"),
    (0, b"070707", "a cpio archive of the old kind"),
    (0, b"\x04\x22\x4d\x18", "an lz4 file"),
    (0, b"\x27\x05\x19\x56", "a U-Boot image"),
    (0, b"\xd0\x0d\xfe\xed", "a device tree blob or FIT image"),
    (0, b"!<arch>\n", "a Debian package or ar archive"),
    (0, b"hsqs", "a squashfs file system"),
    (0, b"QFI\xfb", "a qcow2 disk image"),
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"#!", "a script"),
    (0x200, b"EFI PART", "a disk image with a GPT"),
    (257, b"ustar", "a tar archive"),
    (0x8001, b"CD001", "an ISO 9660 image"),
)
_KERNEL_NOTE_OWNERS = frozenset({"Xen", "Linux"})
_BOOT_SECTOR = (0x1FE, b"\x55\xaa")
_TEXT_SAMPLE = 512
_TEXT_BYTES = frozenset(b"\t\n\f\r") | frozenset(range(0x20, 0x7F)) | frozenset(range(0x80, 0x100))
_PEEK = 4096
_ARTICLES = {"xz": "an", "lz4": "an", "lzma": "an", "lzo": "an"}


def describe(contents: Contents, entries: tuple[Entry, ...]) -> str:
    """Return what an image is, in the words of its containers."""
    kernel = _kernel(contents)
    parts = [kernel] if kernel else []
    if contents.unified is not None:
        parts.append(contents.unified.kind.value)
    if contents.pe is not None:
        kind = _SUBSYSTEMS.get(contents.pe.subsystem, f"subsystem {contents.pe.subsystem.name}")
        parts.append(f"{kind} for {_MACHINES.get(contents.pe.machine, contents.pe.machine.name)}")
    kinds = [entry.kind for entry in entries]
    multiboot = [kind.value for kind in (EntryKind.MULTIBOOT, EntryKind.MULTIBOOT2) if kind in kinds]
    if multiboot:
        parts.append(f"kernel for {' and '.join(multiboot)}")
    told = "; ".join(parts) or "multiboot header without an entry"
    return f"{contents.wrapper.compression}-compressed {told}" if contents.wrapper is not None else told


def _kernel(contents: Contents) -> str:
    bzimage, vmlinux = contents.bzimage, contents.vmlinux
    if bzimage is not None:
        form = "Linux bzImage" if bzimage.header.payload_length else "program in the form of a bzImage"
        return f"{form}, boot protocol {bzimage.protocol_name}"
    if contents.zboot is not None:
        return f"EFI zboot image ({contents.zboot.payload.compression})"
    if contents.arm64 is not None:
        return "Linux arm64 Image"
    if vmlinux is not None:
        return f"ELF kernel, {64 if vmlinux.is_64bit else 32}-bit, {vmlinux.machine.name}"
    return ""


def refuse(path: str, data: bytes, pe: PeImage | None) -> NoReturn:
    """Raise the ImageError that says what the file is instead of an image."""
    if pe is not None:
        machine = _MACHINES.get(pe.machine, pe.machine.name)
        raise ImageError(
            path,
            pe.header_offset,
            "a PE image with an EFI subsystem (10 to 13)",
            f"a PE program for {machine} with subsystem {pe.subsystem.name}",
        )
    raise ImageError(path, None, EXPECTED, recognize(data))


def refuse_foreign_elf(path: str, data: bytes) -> None:
    """Raise ImageError when the ELF file `data` is not of a kind that an x86 kernel can be."""
    word = "<H" if data[IDENT_DATA : IDENT_DATA + 1] == b"\x01" else ">H"
    at = Elf64Header.offset_of("machine")
    if len(data) < at + 2:
        raise ImageError(path, 0, "a whole ELF header", f"{len(data)} bytes")
    (machine,) = struct.unpack_from(word, data, at)
    (kind,) = struct.unpack_from(word, data, Elf64Header.offset_of("type"))
    if machine not in (ElfMachine.X86_64, ElfMachine.I386):
        raise ImageError(path, at, EXPECTED, f"an ELF file for {ElfMachine(machine).name}")
    if kind != ElfType.EXEC and not (kind == ElfType.DYN and data[IDENT_CLASS] == ElfClass.ELF64):
        raise ImageError(path, at - 2, EXPECTED, f"an ELF file of type {ElfType(kind).name}")


def refuse_program(path: str, vmlinux: Vmlinux) -> None:
    """Raise ImageError when an ELF file has no note by which a kernel shows itself."""
    if not any(note.owner in _KERNEL_NOTE_OWNERS for note in vmlinux.notes):
        raise ImageError(
            path, None, EXPECTED, f"an ELF file for {vmlinux.machine.name} without a kernel's notes"
        )


def recognize(data: bytes) -> str:
    """Return what `data`, which is no image, is."""
    if not data:
        return "an empty file"
    offset, magic = _FIRMWARE_VOLUME
    for start in _FIRMWARE_VOLUME_STARTS:
        if data[start + offset : start + offset + len(magic)] == magic:
            return _firmware_volume(data[start : start + _PEEK])
    initrd = initrd_text(data)
    if initrd is not None:
        return initrd
    compression = compression_of(data)
    if compression:
        return _compressed(compression, data)
    for offset, magic, name in _MAGIC:
        if data[offset : offset + len(magic)] == magic:
            return name
    if data[:2] == b"MZ":
        return "a DOS program, or a PE file whose header is damaged"
    offset, magic = _BOOT_SECTOR
    if data[offset : offset + len(magic)] == magic:
        return "a boot sector or disk image"
    if _is_text(data[:_TEXT_SAMPLE]):
        return "a text file"
    return f"a file that begins with the bytes {data[:8].hex(' ')}"


def _firmware_volume(data: bytes) -> str:
    guid = data[_FILE_SYSTEM_GUID_AT : _FILE_SYSTEM_GUID_AT + Guid.SIZE]
    if guid == _VARIABLE_STORE_GUID.wire:
        return "a firmware volume with EFI variables (OVMF_VARS and the like)"
    return "a firmware volume (OVMF and the like)"


def _compressed(compression: str, data: bytes) -> str:
    article = _ARTICLES.get(compression, "a")
    start = peek(compression, data, _PEEK)
    if not start:
        return f"a damaged or empty {compression} file"
    held = recognize(start) if not compression_of(start) else "a compressed file"
    return f"{article} {compression} file that holds {held}"


def _is_text(sample: bytes) -> bool:
    return all(byte in _TEXT_BYTES for byte in sample)
