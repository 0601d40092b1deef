# SPDX-License-Identifier: GPL-2.0-or-later
"""Volumes and files as the file protocols show them — UEFI 2.10 §13.4, §13.5."""

from __future__ import annotations

from enum import IntFlag
from typing import Annotated

from pvefi.layout import U8, U32, U64, Ptr, Scalar, Structure, layout
from pvefi.spec.uefi.time import Time

__all__ = [
    "CREATING",
    "END_OF_FILE",
    "FILE_ATTRIBUTE",
    "FILE_MODE",
    "FILE_PROTOCOL_REVISION",
    "OPEN_MODES",
    "READING",
    "SIMPLE_FILE_SYSTEM_PROTOCOL_REVISION",
    "VALID_ATTRIBUTES",
    "WRITING",
    "FileAttribute",
    "FileInfo",
    "FileMode",
    "FileProtocol",
    "FileSystemInfo",
    "SimpleFileSystemProtocol",
]

SIMPLE_FILE_SYSTEM_PROTOCOL_REVISION = 0x00010000  # UEFI 2.10 §13.4.1
FILE_PROTOCOL_REVISION = 0x00010000  # UEFI 2.10 §13.5.1; 0x00020000 has the functions on tokens besides

END_OF_FILE = 0xFFFF_FFFF_FFFF_FFFF
"""The position that SetPosition() takes for the end of the file — UEFI 2.10 §13.5.11."""


class FileMode(IntFlag):
    """Open()'s OpenMode — UEFI 2.10 §13.5.2."""

    READ = 0x1
    WRITE = 0x2
    CREATE = 0x8000_0000_0000_0000


READING = FileMode.READ
WRITING = FileMode.READ | FileMode.WRITE
CREATING = FileMode.READ | FileMode.WRITE | FileMode.CREATE
OPEN_MODES = (READING, WRITING, CREATING)
"""The only valid combinations — UEFI 2.10 §13.5.2."""


class FileAttribute(IntFlag):
    """A file's attribute bits — UEFI 2.10 §13.5.2."""

    READ_ONLY = 0x01
    HIDDEN = 0x02
    SYSTEM = 0x04
    RESERVED = 0x08
    DIRECTORY = 0x10
    ARCHIVE = 0x20


VALID_ATTRIBUTES = (
    FileAttribute.READ_ONLY
    | FileAttribute.HIDDEN
    | FileAttribute.SYSTEM
    | FileAttribute.DIRECTORY
    | FileAttribute.ARCHIVE
)
"""EFI_FILE_VALID_ATTR — UEFI 2.10 §13.5.2."""


FILE_MODE = Annotated[FileMode, Scalar("Q")]
FILE_ATTRIBUTE = Annotated[FileAttribute, Scalar("Q")]


@layout(size=16)
class SimpleFileSystemProtocol(Structure):
    """EFI_SIMPLE_FILE_SYSTEM_PROTOCOL — UEFI 2.10 §13.4.1."""

    revision: U64
    open_volume: Ptr


@layout(size=88)
class FileProtocol(Structure):
    """EFI_FILE_PROTOCOL of revision 1 — UEFI 2.10 §13.5.1."""

    revision: U64
    open: Ptr
    close: Ptr
    delete: Ptr
    read: Ptr
    write: Ptr
    get_position: Ptr
    set_position: Ptr
    get_info: Ptr
    set_info: Ptr
    flush: Ptr


@layout(size=80)
class FileInfo(Structure):
    """EFI_FILE_INFO; the name follows, NUL-terminated — UEFI 2.10 §13.5.16. Sizes are in bytes."""

    size: U64
    file_size: U64
    physical_size: U64
    create_time: Time
    last_access_time: Time
    modification_time: Time
    attribute: FILE_ATTRIBUTE


@layout(size=36)
class FileSystemInfo(Structure):
    """EFI_FILE_SYSTEM_INFO; the label follows, NUL-terminated — UEFI 2.10 §13.5.17. Sizes are in bytes."""

    size: U64
    read_only: U8
    _pad: U8
    _pad2: U8
    _pad3: U8
    _pad4: U32
    volume_size: U64
    free_space: U64
    block_size: U32
