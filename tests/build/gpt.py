# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds disks with a GUID Partition Table from keywords (UEFI 2.10 §5.2.3 and §5.3)."""

from __future__ import annotations

import struct
import uuid
import zlib

SECTOR = 512
ENTRY_SIZE, ENTRIES = 128, 128
TABLE_SECTORS = ENTRY_SIZE * ENTRIES // SECTOR
EFI_SYSTEM_PARTITION = uuid.UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")


def gpt_disk(
    size: int,
    *,
    disk: uuid.UUID,
    partition: uuid.UUID,
    kind: uuid.UUID = EFI_SYSTEM_PARTITION,
    first: int = 2048,
    last: int = 4095,
    name: str = "EFI System Partition",
) -> bytes:
    """Return a disk of `size` bytes with one partition, from sector `first` to sector `last`."""
    end = size // SECTOR - 1
    entry = struct.pack(
        "<16s16sQQQ72s", kind.bytes_le, partition.bytes_le, first, last, 0, name.encode("utf-16-le")
    )
    table = entry.ljust(ENTRY_SIZE * ENTRIES, b"\0")

    def header(here: int, other: int, table_at: int) -> bytes:
        fields = (
            *(here, other, 2 + TABLE_SECTORS, end - TABLE_SECTORS - 1, disk.bytes_le),
            *(table_at, ENTRIES, ENTRY_SIZE, zlib.crc32(table)),
        )
        data = struct.pack("<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, 0, 0, *fields)
        return data[:16] + struct.pack("<I", zlib.crc32(data)) + data[20:]

    # A protective MBR: one partition of type 0xEE over the whole disk.
    mbr = bytes(446) + struct.pack("<B3sB3sII", 0, b"\0\2\0", 0xEE, b"\xff\xff\xff", 1, end)
    image = bytearray(size)
    image[: SECTOR - 2] = mbr.ljust(SECTOR - 2, b"\0")
    image[SECTOR - 2 : SECTOR] = b"\x55\xaa"
    image[SECTOR : SECTOR + 92] = header(1, end, 2)
    image[2 * SECTOR : 2 * SECTOR + len(table)] = table
    image[(end - TABLE_SECTORS) * SECTOR : end * SECTOR] = table
    image[end * SECTOR : end * SECTOR + 92] = header(end, 1, end - TABLE_SECTORS)
    return bytes(image)
