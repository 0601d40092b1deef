# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds Multiboot and Multiboot2 headers, and files that are loaded by the addresses in them."""

from __future__ import annotations

import struct
from collections.abc import Sequence

MULTIBOOT_FIELDS = {
    "magic": "I",
    "flags": "I",
    "checksum": "I",
    "header_addr": "I",
    "load_addr": "I",
    "load_end_addr": "I",
    "bss_end_addr": "I",
    "entry_addr": "I",
    "mode_type": "I",
    "width": "I",
    "height": "I",
    "depth": "I",
}
KLUDGE = 0x10000
VIDEO = 4
ADDRESS = 0x100000
END_TAG = (0, 0, b"")
MASK = 0xFFFFFFFF


def multiboot_header(flags: int = 3, **fields: int) -> bytes:
    """Return a Multiboot header with all fields; the checksum is right unless it is given."""
    values = dict.fromkeys(MULTIBOOT_FIELDS, 0) | {"magic": 0x1BADB002, "flags": flags} | fields
    values.setdefault("checksum", 0)
    if "checksum" not in fields:
        values["checksum"] = -(values["magic"] + values["flags"]) & MASK
    return struct.pack("<" + "".join(MULTIBOOT_FIELDS.values()), *values.values())


def multiboot_binary(at: int = 0x40, size: int = 0x1000, **fields: int) -> bytes:
    """Return a raw file that its Multiboot header says how to load: all of it at ADDRESS."""
    sound = {
        "header_addr": ADDRESS + at,
        "load_addr": ADDRESS,
        "load_end_addr": ADDRESS + size,
        "bss_end_addr": ADDRESS + 2 * size,
        "entry_addr": ADDRESS + 0x80,
    }
    image = bytearray(size)
    header = multiboot_header(**({"flags": KLUDGE} | sound | fields))
    image[at : at + len(header)] = header
    return bytes(image)


def tag(kind: int, *words: int, optional: bool = False, size: int | None = None) -> bytes:
    """Return one tag of a Multiboot2 header, padded to 8 bytes."""
    body = struct.pack(f"<{len(words)}I", *words)
    made = struct.pack("<HHI", kind, optional, 8 + len(body) if size is None else size) + body
    return made + bytes(-len(made) % 8)


def multiboot2_header(
    tags: Sequence[bytes] = (), *, architecture: int = 0, length: int | None = None, end: bool = True
) -> bytes:
    """Return a Multiboot2 header with its tags."""
    body = b"".join(tags) + (tag(0) if end else b"")
    length = 16 + len(body) if length is None else length
    checksum = -(0xE85250D6 + architecture + length) & MASK
    return struct.pack("<4I", 0xE85250D6, architecture, length, checksum) + body
