# SPDX-License-Identifier: GPL-2.0-or-later
"""Tells an initial ramdisk by what it is made of: cpio archives one after the other, the last one compressed.

Source: Linux Documentation/driver-api/early-userspace/buffer-format.rst; microcode stands in an uncompressed
archive in front (Documentation/arch/x86/microcode.rst).
"""

from __future__ import annotations

from pvefi.image.decompression import LONGEST_MAGIC, compression_of
from pvefi.image.payload import peek

__all__ = ["CPIO_MAGIC", "initrd_parts", "initrd_text"]

CPIO_MAGIC = (b"070701", b"070702")
"""The "new ASCII" format, without and with checksums: the two that the kernel unpacks."""
_HEADER_SIZE = 110
_SIZE_AT, _NAME_SIZE_AT = 54, 94  # c_filesize and c_namesize, 8 hexadecimal digits each
_DIGITS = 8
_ALIGNMENT = 4
_TRAILER = b"TRAILER!!!"
_MICROCODE = b"kernel/x86/microcode/"
_MAX_ENTRIES = 4096
_MAX_PARTS = 8
_PEEK = 4096


def initrd_text(data: bytes) -> str | None:
    """Return in words what the initrd `data` is; None when it is none."""
    parts = initrd_parts(data)
    return f"an initrd ({', then '.join(parts)})" if parts else None


def initrd_parts(data: bytes) -> list[str]:
    """Return the parts of an initrd: archives, with microcode or not, and how the last is compressed."""
    parts: list[str] = []
    at = 0
    while at < len(data) and len(parts) < _MAX_PARTS:
        if data[at : at + 6] in CPIO_MAGIC:
            end, has_microcode = _archive_end(data, at)
            parts.append("cpio archive with microcode" if has_microcode else "cpio archive")
            if end is None:
                break
            at = _after_zeros(data, end)
            continue
        compression = compression_of(data[at : at + LONGEST_MAGIC])
        if compression and peek(compression, memoryview(data)[at:], _PEEK)[:6] in CPIO_MAGIC:
            parts.append(f"cpio archive, {compression}")
        break
    return parts


def _after_zeros(data: bytes, at: int) -> int:
    """Return where the zeros end that stand between two archives."""
    while at < len(data):
        piece = data[at : at + _PEEK]
        rest = piece.lstrip(b"\0")
        at += len(piece) - len(rest)
        if rest:
            break
    return at


def _archive_end(data: bytes, at: int) -> tuple[int | None, bool]:
    """Return where the archive ends, None when that is not seen, and whether it has microcode."""
    has_microcode = False
    for _ in range(_MAX_ENTRIES):
        if data[at : at + 6] not in CPIO_MAGIC or at + _HEADER_SIZE > len(data):
            return None, has_microcode
        try:
            size = int(data[at + _SIZE_AT : at + _SIZE_AT + _DIGITS], 16)
            name_size = int(data[at + _NAME_SIZE_AT : at + _NAME_SIZE_AT + _DIGITS], 16)
        except ValueError:
            return None, has_microcode
        name = data[at + _HEADER_SIZE : at + _HEADER_SIZE + min(name_size, _PEEK)].rstrip(b"\0")
        has_microcode = has_microcode or name.startswith(_MICROCODE)
        at = _aligned(_aligned(at + _HEADER_SIZE + name_size) + size)
        if name == _TRAILER:
            return at, has_microcode
    return None, has_microcode


def _aligned(size: int) -> int:
    return (size + _ALIGNMENT - 1) & -_ALIGNMENT
