# SPDX-License-Identifier: GPL-2.0-or-later
"""The header of an EFI zboot image: a PE image that decompresses the one inside.

Source: Linux drivers/firmware/efi/libstub/zboot-header.S and Makefile.zboot (since 6.1).
"""

from __future__ import annotations

from typing import Annotated

from pvefi.layout import U32, Array, Bytes, Structure, layout

__all__ = ["COMPRESSIONS", "MAGIC", "ZbootHeader"]

MAGIC = b"zimg"

COMPRESSIONS: dict[str, str] = {
    "gzip": "gzip",
    "lz4": "lz4",
    "lzma": "lzma",
    "lzo": "lzo",
    "xzkern": "xz",
    "xz": "xz",
    "zstd22": "zstd",
    "zstd": "zstd",
}
"""COMP_TYPE in Makefile.zboot -> the name of the format; of two spellings the shorter came later or earlier.

The 4 bytes after the payload are its uncompressed size, but for gzip, whose own trailer is that.
"""


@layout(size=0x38)
class ZbootHeader(Structure):
    """The first bytes, within the MZ header."""

    dos_magic: U32
    image_type: Annotated[bytes, Bytes(4)]  # "zimg"
    payload_offset: U32
    payload_size: U32
    reserved: Annotated[tuple[int, ...], Array(2, "I")]
    compression_type: Annotated[bytes, Bytes(32)]  # NUL-terminated
