# SPDX-License-Identifier: GPL-2.0-or-later
"""The root of ACPI's tables — ACPI 6.5 §5.2.5."""

from __future__ import annotations

from typing import Annotated

from pvefi.layout import U8, U32, Bytes, Structure, layout

__all__ = ["RSDP_SIGNATURE", "Rsdp"]

RSDP_SIGNATURE = b"RSD PTR "  # ACPI 6.5 §5.2.5.3


@layout(size=20)
class Rsdp(Structure):
    """Root System Description Pointer, the part that every revision has — ACPI 6.5 §5.2.5.3."""

    signature: Annotated[bytes, Bytes(8)]
    checksum: U8
    oem_id: Annotated[bytes, Bytes(6)]
    revision: U8
    rsdt_address: U32

    @classmethod
    def read(cls, data: bytes) -> Rsdp:
        """Return the pointer in `data`; ValueError when its signature or checksum is wrong."""
        pointer = cls.unpack(data)
        if pointer.signature != RSDP_SIGNATURE:
            raise ValueError(f"expected {RSDP_SIGNATURE!r}, found {pointer.signature!r}")
        if sum(data[: cls.SIZE]) & 0xFF:
            raise ValueError("its first 20 bytes do not sum to zero")
        return pointer
