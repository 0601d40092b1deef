# SPDX-License-Identifier: GPL-2.0-or-later
"""Fault tolerant writes of whole blocks, and their completion after a crash — edk2's FaultTolerantWriteDxe.

A record in the working block tells how far a write has come: contents stand first in the spare area, then in
their place. Whoever finds the record, edk2 or pvefi, goes on from there. The order of steps is that of edk2,
but for the flag of a write's header, which comes after the header's fields, and for the blocks, which are not
erased before they are written: a crash in between leaves the headers at their start.
"""

from __future__ import annotations

import binascii

from pvefi.efi.varstore.plan import Plan, erased
from pvefi.errors import ImageError
from pvefi.spec.edk2.fault_tolerant_write import (
    DESTINATION_COMPLETE,
    FAULT_TOLERANT_WRITE_DXE,
    HEADER_ALLOCATED,
    SPARE_COMPLETE,
    WORKING_BLOCK_INVALID,
    WORKING_BLOCK_SIGNATURE,
    WORKING_BLOCK_VALID,
    WRITES_ALLOCATED,
    WRITES_COMPLETE,
    FaultTolerantWorkingBlockHeader,
    FaultTolerantWriteHeader,
    FaultTolerantWriteRecord,
)
from pvefi.spec.edk2.firmware_volume import FirmwareVolumeHeader
from pvefi.spec.edk2.ovmf import StoreLayout
from pvefi.spec.edk2.variable_store import ERASED, UNWRITTEN_WORD

__all__ = ["complete_writes", "empty_working_block", "has_pending_write", "write_store"]

_STATE = FaultTolerantWorkingBlockHeader.offset_of("state")
_ONE_WRITE = FaultTolerantWriteHeader.SIZE + FaultTolerantWriteRecord.SIZE
_VALID = ~WORKING_BLOCK_VALID & 0xFF


def _working_header(layout: StoreLayout, state: int) -> bytes:
    def header(crc: int, state: int) -> bytes:
        return FaultTolerantWorkingBlockHeader(
            WORKING_BLOCK_SIGNATURE,
            crc,
            state,
            erased(3),
            layout.working_size - FaultTolerantWorkingBlockHeader.SIZE,
        ).pack()

    return header(binascii.crc32(header(UNWRITTEN_WORD, ERASED)), state)


def empty_working_block(layout: StoreLayout, state: int = _VALID) -> bytes:
    """Return a working block without writes."""
    header = _working_header(layout, state)
    return header + erased(layout.working_size - len(header))


def _has_working_block(image: bytearray, layout: StoreLayout, offset: int) -> bool:
    """Whether a valid working block of `layout` stands at `offset`."""
    return image.startswith(_working_header(layout, _VALID), offset)


def has_pending_write(image: bytearray, layout: StoreLayout) -> bool:
    """Whether a write of `layout` has begun and not ended."""
    return _has_working_block(image, layout, layout.working_offset) and _queue(image, layout)[1] is not None


def _queue(image: bytearray, layout: StoreLayout) -> tuple[int | None, int | None]:
    """Return where the next write's header goes, and where that of a write stands that has not ended.

    The first is None where there is no room or the queue makes no sense: the block is to be renewed.
    """
    at = layout.working_offset + FaultTolerantWorkingBlockHeader.SIZE
    end = layout.working_offset + layout.working_size
    while at + _ONE_WRITE <= end:
        header = FaultTolerantWriteHeader.unpack(image, at)
        if header.state & HEADER_ALLOCATED:
            return (at if image.count(ERASED, at, end) == end - at else None), None
        record = FaultTolerantWriteRecord.SIZE + header.private_data_size
        size = header.SIZE + header.number_of_writes * record
        if not header.number_of_writes or at + size > end:
            return None, None
        if header.state & WRITES_COMPLETE:
            return None, at
        at += size
    return None, None


def complete_writes(name: str, plan: Plan, layout: StoreLayout) -> None:
    """Complete what a crash interrupted, or call it off; ImageError where the record makes no sense."""
    restored = not _has_working_block(plan.image, layout, layout.working_offset)
    if restored:
        if not _has_working_block(plan.image, layout, layout.spare_offset):
            return  # nothing is known of any write; the next one makes a working block
        block = plan.image[layout.spare_offset : layout.spare_offset + layout.working_size]
        block[_STATE] = ERASED
        _place_working_block(plan, layout, bytes(block))
    _, pending = _queue(plan.image, layout)
    if pending is None:
        return
    if not restored:  # for then the spare area held the working block, and no contents: edk2 calls it off too
        _complete_record(name, plan, layout, pending)
    plan.clear(pending, WRITES_COMPLETE)
    plan.sync()


def _complete_record(name: str, plan: Plan, layout: StoreLayout, pending: int) -> None:
    """Complete the first write of those at `pending` that has not been, if its contents were all there."""
    header = FaultTolerantWriteHeader.unpack(plan.image, pending)
    at = pending + header.SIZE
    for _ in range(header.number_of_writes):
        record = FaultTolerantWriteRecord.unpack(plan.image, at)
        if record.state & DESTINATION_COMPLETE:
            if not record.state & SPARE_COMPLETE:
                _write_from_spare(name, plan, layout, at, record)
            return
        at += record.SIZE + header.private_data_size


def _write_from_spare(
    name: str, plan: Plan, layout: StoreLayout, at: int, record: FaultTolerantWriteRecord
) -> None:
    target = layout.spare_offset + record.relative_offset
    blocks = -(-(record.offset + record.length) // layout.block_size)
    size = blocks * layout.block_size
    if target < 0 or target % layout.block_size or target + size > layout.working_offset:
        found = f"{size} bytes to {target:#x}"
        raise ImageError(name, at, "a fault tolerant write to the variable store", found)
    if size > layout.spare_size:
        raise ImageError(name, at, f"a write of at most {layout.spare_size} bytes", f"{size}")
    plan.write(target, bytes(plan.image[layout.spare_offset : layout.spare_offset + size]))
    plan.sync()
    plan.clear(at, DESTINATION_COMPLETE)
    plan.sync()


def write_store(plan: Plan, layout: StoreLayout, contents: bytes) -> None:
    """Write `contents` in place of the whole store, from the firmware volume's header on."""
    at, _ = _queue(plan.image, layout)
    if at is None or not _has_working_block(plan.image, layout, layout.working_offset):
        _renew_working_block(plan, layout)
        at = layout.working_offset + FaultTolerantWorkingBlockHeader.SIZE
    header = FaultTolerantWriteHeader(ERASED, erased(3), FAULT_TOLERANT_WRITE_DXE, erased(4), 1, 0)
    plan.write(at, header.pack())
    plan.clear(at, HEADER_ALLOCATED)
    plan.clear(at, WRITES_ALLOCATED)
    record_at = at + header.SIZE
    changed = FirmwareVolumeHeader.SIZE  # edk2 writes the store, the volume's header before it stays
    record = FaultTolerantWriteRecord(
        ERASED, erased(7), 0, changed, layout.store_size - changed, -layout.spare_offset
    )
    plan.write(record_at, record.pack())
    plan.write(layout.spare_offset, contents)
    plan.sync()
    plan.clear(record_at, SPARE_COMPLETE)
    plan.sync()
    plan.write(0, contents)
    plan.sync()
    plan.clear(record_at, DESTINATION_COMPLETE)
    plan.clear(at, WRITES_COMPLETE)
    plan.sync()  # before this lasts, the spare area may still be needed
    plan.write(layout.spare_offset, erased(len(contents)))


def _renew_working_block(plan: Plan, layout: StoreLayout) -> None:
    """Put an empty working block in place of a full one, by way of the spare area."""
    fresh = empty_working_block(layout, ERASED)
    plan.write(layout.spare_offset, fresh)
    plan.sync()
    plan.clear(layout.spare_offset + _STATE, WORKING_BLOCK_VALID)
    plan.sync()
    _place_working_block(plan, layout, fresh)


def _place_working_block(plan: Plan, layout: StoreLayout, block: bytes) -> None:
    """Write `block`, whose state is all ones and a valid copy of which the spare area holds."""
    at = layout.working_offset
    plan.clear(at + _STATE, WORKING_BLOCK_INVALID)
    plan.sync()
    plan.write(at, block)
    plan.sync()
    plan.clear(at + _STATE, WORKING_BLOCK_VALID)
    plan.sync()
    plan.write(layout.spare_offset, erased(len(block)))
