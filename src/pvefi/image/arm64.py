# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads the headers of the images that arm64 kernels come in: Image, and EFI zboot around it.

Sources: Linux booting.rst (Documentation/arch/arm64) "4. Call the kernel image", and
drivers/firmware/efi/libstub/zboot-header.S; zboot is what RISC-V and LoongArch use too.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from pvefi.errors import ImageError
from pvefi.image.decompression import LONGEST_MAGIC, compression_of
from pvefi.image.payload import MAX_UNCOMPRESSED_SIZE, Payload
from pvefi.spec.linux import zboot
from pvefi.spec.linux.arm64_image import (
    BIG_ENDIAN,
    MAGIC,
    OLD_TEXT_OFFSET,
    PAGE_SIZE_SHIFT,
    PAGE_SIZES,
    PLACED_ANYWHERE,
    Arm64ImageHeader,
)
from pvefi.spec.linux.zboot import ZbootHeader

__all__ = ["Arm64Image", "Zboot", "find_arm64_image", "find_zboot", "has_arm64_header"]

_WORD = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Arm64Image:
    """The header of an arm64 kernel Image; `image_size` is 0 before Linux 3.17."""

    text_offset: int
    image_size: int
    flags: int

    @property
    def big_endian(self) -> bool:
        """Whether the kernel is big-endian; the header never is."""
        return bool(self.flags & BIG_ENDIAN)

    @property
    def page_size(self) -> int | None:
        """The kernel's page size; None where it is not said."""
        return PAGE_SIZES[self.flags >> PAGE_SIZE_SHIFT & (len(PAGE_SIZES) - 1)]

    @property
    def placed_anywhere(self) -> bool:
        """Whether its base may be anywhere; otherwise it has to be near the start of memory."""
        return bool(self.flags & PLACED_ANYWHERE)


@dataclass(frozen=True, slots=True)
class Zboot:
    """The header of an EFI zboot image: what its stub decompresses."""

    compression_type: str
    payload: Payload


def has_arm64_header(head: bytes) -> bool:
    """Whether `head` begins with the header of an arm64 Image."""
    return len(head) >= Arm64ImageHeader.SIZE and Arm64ImageHeader.unpack(head).magic == MAGIC


def find_arm64_image(data: bytes) -> Arm64Image | None:
    """Return the header of the arm64 Image `data`; None when it is none."""
    if not has_arm64_header(data):
        return None
    header = Arm64ImageHeader.unpack(data)
    text_offset = header.text_offset if header.image_size else OLD_TEXT_OFFSET
    return Arm64Image(text_offset, header.image_size, header.flags)


def find_zboot(path: str, data: bytes) -> Zboot | None:
    """Return the zboot header of the PE image `data`; ImageError when its payload is not there."""
    at = ZbootHeader.offset_of("image_type")
    if data[at : at + len(zboot.MAGIC)] != zboot.MAGIC or len(data) < ZbootHeader.SIZE:
        return None
    header = ZbootHeader.unpack(data)
    name = header.compression_type.partition(b"\0")[0].decode("ascii", "backslashreplace")
    compression = zboot.COMPRESSIONS.get(name)
    at = ZbootHeader.offset_of("compression_type")
    if compression is None:
        raise ImageError(path, at, f"a zboot compression ({', '.join(zboot.COMPRESSIONS)})", f"{name!r}")
    offset, size = header.payload_offset, header.payload_size
    trailer = 0 if compression == "gzip" else _WORD.size
    if size < LONGEST_MAGIC or offset + size + trailer > len(data):
        raise ImageError(
            path,
            ZbootHeader.offset_of("payload_offset"),
            f"a zboot payload within the file ({len(data):#x} bytes)",
            f"{size:#x} bytes at {offset:#x}",
            "the file is truncated or its header is corrupt",
        )
    found = compression_of(data[offset : offset + LONGEST_MAGIC])
    if found != compression:
        raise ImageError(path, offset, f"a {compression} payload, as the zboot header says", found or "none")
    (uncompressed_size,) = _WORD.unpack_from(data, offset + size + trailer - _WORD.size)
    if uncompressed_size > MAX_UNCOMPRESSED_SIZE:
        raise ImageError(
            path,
            offset + size + trailer - _WORD.size,
            f"a kernel of at most {MAX_UNCOMPRESSED_SIZE >> 20} MiB",
            f"a payload that claims {uncompressed_size >> 20} MiB, a decompression bomb or a corrupt size",
        )
    return Zboot(name, Payload(compression, offset, size, uncompressed_size))
