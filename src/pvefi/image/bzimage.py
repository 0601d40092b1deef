# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads the setup header of an x86 kernel image, as far as its protocol version goes.

Source: Linux boot.rst "The Real-Mode Kernel Header".
"""

from __future__ import annotations

from dataclasses import dataclass

from pvefi.errors import ImageError
from pvefi.spec.linux.setup_header import (
    BOOT_FLAG,
    DEFAULT_SETUP_SECTS,
    FIELD_SINCE,
    HANDOVER_64_OFFSET,
    HEADER_MAGIC,
    JUMP_OFFSET,
    KERNEL_INFO_MAGIC,
    SECTOR_SIZE,
    SETUP_HEADER_OFFSET,
    KernelInfo,
    LoadFlag,
    SetupHeader,
    XLoadFlag,
)

__all__ = ["BzImage", "has_setup_header", "parse_bzimage"]

_MAX_VERSION_STRING = 512
_OLDEST_PROTOCOL = 0x0200


@dataclass(frozen=True, slots=True)
class BzImage:
    """A kernel image of the Linux/x86 boot protocol.

    `header_size` counts from 0x1f1; fields past it, or younger than `protocol`, are zero in `header` and
    missing from `fields()`.
    """

    header: SetupHeader
    header_size: int
    kernel_version: str
    protected_mode_offset: int
    kernel_info: KernelInfo | None

    @property
    def protocol(self) -> int:
        """The boot protocol version, 0x20f for 2.15."""
        return self.header.version

    @property
    def protocol_name(self) -> str:
        """The version as boot.rst writes it."""
        return f"{self.protocol >> 8}.{self.protocol & 0xFF:02d}"

    @property
    def release(self) -> str:
        """The release as `uname -r` gives it, the first word of the version string."""
        return self.kernel_version.partition(" ")[0]

    @property
    def load_flags(self) -> LoadFlag:
        """`loadflags`, decoded."""
        return LoadFlag(self.header.loadflags)

    @property
    def xload_flags(self) -> XLoadFlag:
        """`xloadflags`, decoded; empty before protocol 2.12."""
        return XLoadFlag(self.header.xloadflags)

    @property
    def setup_size(self) -> int:
        """Bytes of real-mode code, boot sector included."""
        return self.protected_mode_offset

    def fields(self) -> dict[str, int]:
        """Return the header fields that this protocol version has, by their names in boot.rst."""
        return {
            name: getattr(self.header, name)
            for name in _FIELDS
            if _present(name, self.protocol, self.header_size)
        }


_FIELDS = tuple(SetupHeader.__dataclass_fields__)


def _present(name: str, protocol: int, header_size: int) -> bool:
    return SetupHeader.offset_of(name) < header_size and FIELD_SINCE.get(name, 0) <= protocol


def has_setup_header(data: bytes) -> bool:
    """Whether `data` carries "HdrS" and the boot flag where a kernel image has them."""
    at = SETUP_HEADER_OFFSET
    if len(data) < at + SetupHeader.offset_of("version"):
        return False
    header = SetupHeader.unpack(data[at : at + SetupHeader.SIZE].ljust(SetupHeader.SIZE, b"\0"))
    return header.header == HEADER_MAGIC and header.boot_flag == BOOT_FLAG


def parse_bzimage(path: str, data: bytes) -> BzImage:
    """Return the setup header of the kernel image `data`, for which `has_setup_header` said yes."""
    size = JUMP_OFFSET + 2 + data[JUMP_OFFSET + 1] - SETUP_HEADER_OFFSET
    size = min(size, SetupHeader.SIZE)
    raw = data[SETUP_HEADER_OFFSET : SETUP_HEADER_OFFSET + size].ljust(SetupHeader.SIZE, b"\0")
    header = SetupHeader.unpack(raw)
    if header.version < _OLDEST_PROTOCOL:
        raise ImageError(
            path,
            SETUP_HEADER_OFFSET + SetupHeader.offset_of("version"),
            "boot protocol 2.00 or later",
            f"{header.version:#06x}",
        )
    absent = {name: 0 for name in _FIELDS if not _present(name, header.version, size)}
    header = SetupHeader(**{name: getattr(header, name) for name in _FIELDS} | absent)
    protected = ((header.setup_sects or DEFAULT_SETUP_SECTS) + 1) * SECTOR_SIZE
    if protected >= len(data):
        raise ImageError(
            path,
            SETUP_HEADER_OFFSET,
            f"protected-mode code at {protected:#x} (setup_sects {header.setup_sects})",
            f"the end of the file at {len(data):#x}",
            "the file is truncated or its header is corrupt",
        )
    _check_handover(path, data, header, protected)
    return BzImage(
        header=header,
        header_size=size,
        kernel_version=_version(header, data),
        protected_mode_offset=protected,
        kernel_info=_kernel_info(header, data, protected),
    )


def _check_handover(path: str, data: bytes, header: SetupHeader, protected: int) -> None:
    flags = XLoadFlag(header.xloadflags)
    if not flags & (XLoadFlag.XLF_EFI_HANDOVER_32 | XLoadFlag.XLF_EFI_HANDOVER_64):
        return
    last = protected + header.handover_offset
    last += HANDOVER_64_OFFSET if XLoadFlag.XLF_EFI_HANDOVER_64 in flags else 0
    if last >= len(data):
        raise ImageError(
            path,
            SETUP_HEADER_OFFSET + SetupHeader.offset_of("handover_offset"),
            f"a handover entry inside the file ({len(data):#x} bytes)",
            f"one at {last:#x}",
            "the file is truncated or its header is corrupt",
        )


def _version(header: SetupHeader, data: bytes) -> str:
    if not header.kernel_version:
        return ""
    # Linux boot.rst "kernel_version": a pointer to a NUL-terminated string, less 0x200
    at = header.kernel_version + JUMP_OFFSET
    text, _, _ = data[at : at + _MAX_VERSION_STRING].partition(b"\0")
    return text.decode("ascii", "backslashreplace")


def _kernel_info(header: SetupHeader, data: bytes, protected: int) -> KernelInfo | None:
    at = protected + header.kernel_info_offset
    if not header.kernel_info_offset or at + KernelInfo.SIZE > len(data):
        return None
    info = KernelInfo.unpack(data, at)
    return info if info.header == KERNEL_INFO_MAGIC else None
