# SPDX-License-Identifier: GPL-2.0-or-later
"""The header of a firmware volume — edk2 MdePkg/Include/Pi/PiFirmwareVolume.h."""

from __future__ import annotations

from typing import Annotated

from pvefi.layout import U8, U16, U32, U64, Array, Bytes, Guid, Structure, layout

__all__ = [
    "FVH_REVISION",
    "FVH_SIGNATURE",
    "SYSTEM_NV_DATA_FV",
    "BlockMapEntry",
    "FirmwareVolumeHeader",
]

SYSTEM_NV_DATA_FV = Guid.parse("fff12b8d-7696-4c8b-a985-2747075b4f50")
"""gEfiSystemNvDataFvGuid: a volume that holds variables — MdeModulePkg/Include/Guid/SystemNvDataGuid.h."""
FVH_SIGNATURE = int.from_bytes(b"_FVH", "little")
FVH_REVISION = 2


@layout(size=8)
class BlockMapEntry(Structure):
    """EFI_FV_BLOCK_MAP_ENTRY: a run of `blocks` blocks of `length` bytes; both 0 at the end of the map."""

    blocks: U32  # NumBlocks
    length: U32  # Length


@layout(size=0x48)
class FirmwareVolumeHeader(Structure):
    """EFI_FIRMWARE_VOLUME_HEADER of a volume whose blocks all have one size: its map has two entries.

    The sixteen-bit words of a valid header add up to 0.
    """

    zero_vector: Annotated[bytes, Bytes(16)]
    file_system_guid: Guid
    volume_length: U64  # FvLength
    signature: U32
    attributes: U32
    header_length: U16
    checksum: U16
    extended_header_offset: U16  # ExtHeaderOffset
    reserved: U8
    revision: U8
    block_map: Annotated[tuple[BlockMapEntry, ...], Array(2)]
