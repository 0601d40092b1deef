# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds bzImages, with a PE header or without, around a compressed ELF kernel."""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct
import zlib
from typing import Any

from pvefi.spec.linux.setup_header import SETUP_HEADER_OFFSET, SetupHeader
from tests.build.elf import build_elf
from tests.build.pe import PeSection, build_pe

SETUP_SECTS = 7
SETUP_SIZE = (SETUP_SECTS + 1) * 512
VERSION = b"6.1.0-test (pvefi) #1 SMP"
VERSION_OFFSET = 0x300
PAYLOAD_OFFSET = 0x2CC
KERNEL_INFO_OFFSET = 0x280
HANDOVER_OFFSET = 0x210
LZ4_CHUNK = 8 << 20

_NAMES = tuple(SetupHeader.__dataclass_fields__)
_ENDS = (*(SetupHeader.offset_of(name) for name in _NAMES[1:]), SetupHeader.SIZE)
SETUP_FIELDS = {
    name: 8 * (end - SetupHeader.offset_of(name)) for name, end in zip(_NAMES, _ENDS, strict=True)
}
"""Each field of the setup header with its width in bits."""


def compress(data: bytes, compression: str, declared_size: int | None = None) -> bytes:
    """Return `data` compressed as the kernel's build does, with its size appended where gzip has none."""
    size = struct.pack("<I", len(data) if declared_size is None else declared_size)
    match compression:
        case "none":
            return data
        case "gzip":
            packed = gzip.compress(data, mtime=0)
            return packed if declared_size is None else packed[:-4] + size
        case "bzip2":
            return bz2.compress(data) + size
        case "lzma":
            return lzma.compress(data, lzma.FORMAT_ALONE) + size
        case "lzo":
            return lzop(data) + size
        case "xz":
            return lzma.compress(data, lzma.FORMAT_XZ, check=lzma.CHECK_CRC32) + size
        case "lz4":
            return _lz4(data) + size
        case "zstd":
            import zstandard

            return zstandard.ZstdCompressor(write_content_size=False).compress(data) + size
    raise ValueError(compression)


LZO_CHUNK = 256 << 10


def lzop(data: bytes, *, version: int = 0x1040, flags: int = 3, name: bytes = b"") -> bytes:
    """Return a file as `lzop -9` makes it: blocks of 256 KiB with the Adler-32 of what is in them."""
    from lzallright import LZOCompressor

    header = struct.pack(">HHH", version, 0x20A0, 0x0940) + b"\x03"
    header += b"\x09" if version >= 0x940 else b""
    header += struct.pack(">I", flags) + (bytes(4) if flags & 0x800 else b"")
    header += bytes(12 if version >= 0x940 else 8) + bytes([len(name)]) + name
    packed = b"\x89LZO\0\r\n\x1a\n" + header + struct.pack(">I", zlib.adler32(header))
    for at in range(0, len(data), LZO_CHUNK):
        chunk = data[at : at + LZO_CHUNK]
        block = LZOCompressor().compress(chunk)
        block = chunk if len(block) >= len(chunk) else block
        packed += struct.pack(">3I", len(chunk), len(block), zlib.adler32(chunk)) + block
    return packed + bytes(4)


def _lz4(data: bytes) -> bytes:
    import lz4.block

    packed = struct.pack("<I", 0x184C2102)
    for at in range(0, len(data), LZ4_CHUNK):
        block: bytes = lz4.block.compress(data[at : at + LZ4_CHUNK], store_size=False)
        packed += struct.pack("<I", len(block)) + block
    return packed


def build_bzimage(
    vmlinux: bytes | None = None,
    *,
    compression: str = "gzip",
    payload: bytes | None = None,
    with_pe: bool = True,
    with_compat: bool = True,
    length: int | None = None,
    pe: dict[str, Any] | None = None,
    **header: int,
) -> bytes:
    """Return a bzImage; `header` overrides fields of the setup header, `pe` those of the PE header."""
    vmlinux = build_elf() if vmlinux is None else vmlinux
    payload = compress(vmlinux, compression) if payload is None else payload
    protected = bytearray(PAYLOAD_OFFSET) + payload
    protected[KERNEL_INFO_OFFSET : KERNEL_INFO_OFFSET + 16] = struct.pack(
        "<4s3I", b"LToP", 16, 16, 0x80000009
    )
    protected += bytes(-len(protected) % 16)
    values = dict.fromkeys(SETUP_FIELDS, 0)
    values |= {
        "setup_sects": SETUP_SECTS,
        "root_flags": 1,
        "syssize": len(protected) // 16,
        "vid_mode": 0xFFFF,
        "boot_flag": 0xAA55,
        "jump": 0x6AEB,
        "header": 0x53726448,
        "version": 0x20F,
        "start_sys_seg": 0x1000,
        "kernel_version": VERSION_OFFSET - 0x200,
        "loadflags": 1,
        "setup_move_size": 0x8000,
        "code32_start": 0x100000,
        "heap_end_ptr": 0x5BE0,
        "initrd_addr_max": 0x7FFFFFFF,
        "kernel_alignment": 0x200000,
        "relocatable_kernel": 1,
        "min_alignment": 21,
        "xloadflags": 0x7F if with_pe else 0x63,
        "cmdline_size": 2047,
        "payload_offset": PAYLOAD_OFFSET,
        "payload_length": len(payload),
        "pref_address": 0x1000000,
        "init_size": 0x400000,
        "handover_offset": HANDOVER_OFFSET if with_pe else 0,
        "kernel_info_offset": KERNEL_INFO_OFFSET,
    }
    setup = SetupHeader(**(values | header)).pack()
    if with_pe:
        sections = [PeSection(b".text", bytes(protected))]
        if with_compat:
            entry = struct.pack("<BBHI", 1, 8, 0x14C, SETUP_SIZE + 0x200)
            sections.append(PeSection(b".compat", entry, 0x42000040))
        image = bytearray(build_pe(sections, header_size=SETUP_SIZE, **(pe or {})))
    else:
        image = bytearray(SETUP_SIZE) + protected
    image[SETUP_HEADER_OFFSET : SETUP_HEADER_OFFSET + len(setup)] = setup
    image[VERSION_OFFSET : VERSION_OFFSET + len(VERSION) + 1] = VERSION + b"\0"
    return bytes(image if length is None else image[:length])
