# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds arm64 Images and the EFI zboot images around them."""

from __future__ import annotations

import struct
from typing import Any

from tests.build.bzimage import compress
from tests.build.pe import PeSection, build_pe

ARM64_FIELDS = {
    "code0": "I",
    "code1": "I",
    "text_offset": "Q",
    "image_size": "Q",
    "flags": "Q",
    "res2": "Q",
    "res3": "Q",
    "res4": "Q",
    "magic": "I",
    "res5": "I",
}
ZBOOT_FIELDS = {
    "dos_magic": "I",
    "image_type": "4s",
    "payload_offset": "I",
    "payload_size": "I",
    "reserved": "Q",
    "compression_type": "32s",
}
MACHINE = 0xAA64
SPELLED = {"gzip": b"gzip", "xz": b"xzkern", "zstd": b"zstd22", "lzma": b"lzma", "lzo": b"lzo", "lz4": b"lz4"}


def build_arm64(*, with_pe: bool = True, text: bytes = bytes(0x3000), **fields: int) -> bytes:
    """Return an arm64 Image, a PE image at once as Linux builds it; `fields` are ARM64_FIELDS."""
    image = bytearray(
        build_pe([PeSection(data=text)], machine=MACHINE, header_size=0x1000, lfanew=0x40)
        if with_pe
        else bytes(0x1000) + text
    )
    values = {
        "code0": 0xFA405A4D if with_pe else 0x14000000,
        "code1": 0x14000400,
        "text_offset": 0,
        "image_size": len(image) + 0x10000,
        "flags": 0b1010,
        "res2": 0,
        "res3": 0,
        "res4": 0,
        "magic": 0x644D5241,
        "res5": 0x40 if with_pe else 0,
    } | fields
    header = struct.pack("<" + "".join(ARM64_FIELDS.values()), *values.values())
    image[: len(header)] = header
    return bytes(image)


def build_zboot(
    inner: bytes | None = None,
    compression: str = "gzip",
    *,
    declared_size: int | None = None,
    pe: dict[str, Any] | None = None,
    **fields: Any,
) -> bytes:
    """Return an EFI zboot image around `inner`, an arm64 Image by default; `fields` are ZBOOT_FIELDS."""
    packed = compress(build_arm64() if inner is None else inner, compression, declared_size)
    size = len(packed) if compression == "gzip" else len(packed) - 4
    sections = [PeSection(data=packed + bytes(0x200))]
    image = bytearray(build_pe(sections, lfanew=0x40, **({"machine": MACHINE} | (pe or {}))))
    values: dict[str, Any] = {
        "dos_magic": 0x5A4D,
        "image_type": b"zimg",
        "payload_offset": 0x400,
        "payload_size": size,
        "reserved": 0,
        "compression_type": SPELLED[compression],
    } | fields
    header = struct.pack("<" + "".join(ZBOOT_FIELDS.values()), *values.values())
    image[: len(header)] = header
    return bytes(image)
