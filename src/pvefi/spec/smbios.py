# SPDX-License-Identifier: GPL-2.0-or-later
"""The entry points of SMBIOS's structure table — DMTF DSP0134, cited as SMBIOS 3.6."""

from __future__ import annotations

from typing import Annotated

from pvefi.layout import U8, U16, U32, U64, Bytes, Structure, layout

__all__ = ["ANCHOR_ALIGNMENT", "SEARCH_RANGE", "EntryPoint32", "EntryPoint64"]

SEARCH_RANGE = (0xF0000, 0x10000)  # SMBIOS 3.6 §5.2: address and size of where a BIOS puts entry points
ANCHOR_ALIGNMENT = 16  # SMBIOS 3.6 §5.2: paragraph boundaries


def _sums_to_zero(data: bytes | memoryview) -> bool:
    return not sum(data) & 0xFF


@layout(size=31)
class EntryPoint32(Structure):
    """The 32-bit entry point structure — SMBIOS 3.6 §5.2.1."""

    anchor: Annotated[bytes, Bytes(4)]
    checksum: U8
    length: U8
    major_version: U8
    minor_version: U8
    maximum_structure_size: U16
    revision: U8
    formatted_area: Annotated[bytes, Bytes(5)]
    intermediate_anchor: Annotated[bytes, Bytes(5)]
    intermediate_checksum: U8
    table_size: U16
    table_address: U32
    number_of_structures: U16
    bcd_revision: U8

    @classmethod
    def read(cls, data: bytes | memoryview) -> EntryPoint32 | None:
        """Return the entry point at the start of `data`, None when there is no valid one."""
        if len(data) < cls.SIZE or bytes(data[:4]) != b"_SM_":
            return None
        found = cls.unpack(data)
        # "1Fh ... version 2.1 of this specification ... the value 1Eh": both are met.
        if found.length not in (cls.SIZE - 1, cls.SIZE) or found.intermediate_anchor != b"_DMI_":
            return None
        middle = cls.offset_of("intermediate_anchor")
        valid = _sums_to_zero(data[: found.length]) and _sums_to_zero(data[middle : middle + 15])
        return found if valid else None


@layout(size=24)
class EntryPoint64(Structure):
    """The 64-bit entry point structure — SMBIOS 3.6 §5.2.2; `table_size` is the most it may be."""

    anchor: Annotated[bytes, Bytes(5)]
    checksum: U8
    length: U8
    major_version: U8
    minor_version: U8
    docrev: U8
    revision: U8
    reserved: U8
    table_size: U32
    table_address: U64

    @classmethod
    def read(cls, data: bytes | memoryview) -> EntryPoint64 | None:
        """Return the entry point at the start of `data`, None when there is no valid one."""
        if len(data) < cls.SIZE or bytes(data[:5]) != b"_SM3_":
            return None
        found = cls.unpack(data)
        if not cls.SIZE <= found.length <= len(data):
            return None
        return found if _sums_to_zero(data[: found.length]) else None
