# SPDX-License-Identifier: GPL-2.0-or-later
"""How edk2 writes blocks so that old or new survive — MdeModulePkg/Include/Guid/SystemNvDataGuid.h.

The working block has this header and then a queue: a write's header, then its records. New contents go to
the spare area first; the record says so; then they go to their place, and the record says that. Bits of a
state are set by clearing them. These structures are not packed: a 64-bit number stands at a multiple of 8.
"""

from __future__ import annotations

from typing import Annotated

from pvefi.layout import S64, U8, U32, U64, Bytes, Guid, Structure, layout

__all__ = [
    "DESTINATION_COMPLETE",
    "FAULT_TOLERANT_WRITE_DXE",
    "HEADER_ALLOCATED",
    "SPARE_COMPLETE",
    "WORKING_BLOCK_INVALID",
    "WORKING_BLOCK_SIGNATURE",
    "WORKING_BLOCK_VALID",
    "WRITES_ALLOCATED",
    "WRITES_COMPLETE",
    "FaultTolerantWorkingBlockHeader",
    "FaultTolerantWriteHeader",
    "FaultTolerantWriteRecord",
]

WORKING_BLOCK_SIGNATURE = Guid.parse("9e58292b-7c68-497d-a0ce-6500fd9f1b95")
"""gEdkiiWorkingBlockSignatureGuid."""
FAULT_TOLERANT_WRITE_DXE = Guid.parse("fe5cea76-4f72-49e8-986f-2cd899dffe5d")
"""The caller of writes without private data: FILE_GUID of MdeModulePkg's FaultTolerantWriteDxe.inf."""

# Bits of the working block's state; a bit that is 0 is set.
WORKING_BLOCK_VALID = 0x01
WORKING_BLOCK_INVALID = 0x02
# Bits of a write header's state — FaultTolerantWrite.h in MdeModulePkg/Universal/FaultTolerantWriteDxe.
HEADER_ALLOCATED = 0x01
WRITES_ALLOCATED = 0x02
WRITES_COMPLETE = 0x04
# Bits of a record's state, from there too.
SPARE_COMPLETE = 0x02
DESTINATION_COMPLETE = 0x04


@layout(size=32)
class FaultTolerantWorkingBlockHeader(Structure):
    """EFI_FAULT_TOLERANT_WORKING_BLOCK_HEADER; `crc` is of this header with itself and `state` all ones."""

    signature: Guid
    crc: U32
    state: U8
    reserved: Annotated[bytes, Bytes(3)]
    write_queue_size: U64


@layout(size=40)
class FaultTolerantWriteHeader(Structure):
    """EFI_FAULT_TOLERANT_WRITE_HEADER, followed by `number_of_writes` records."""

    state: U8
    padding: Annotated[bytes, Bytes(3)]
    caller_id: Guid
    padding1: Annotated[bytes, Bytes(4)]
    number_of_writes: U64
    private_data_size: U64


@layout(size=40)
class FaultTolerantWriteRecord(Structure):
    """EFI_FAULT_TOLERANT_WRITE_RECORD, followed by the caller's private data.

    Where the write goes is told from the spare area on: `relative_offset` is from there to block `lba`.
    `offset` and `length` say which bytes of the blocks changed; whole blocks are in the spare area.
    """

    state: U8
    padding: Annotated[bytes, Bytes(7)]
    lba: U64
    offset: U64
    length: U64
    relative_offset: S64
