# SPDX-License-Identifier: GPL-2.0-or-later
"""The file that is a guest's RAM, and where QEMU shows it to the guest."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from pvefi.errors import GuestFault
from pvefi.memory import RamBlock
from pvefi.spec.xen.start_info import HvmMemmapTableEntry, MemmapType

__all__ = ["RamFile", "ram_blocks"]

_FOUR_GIB = 4 << 30


@dataclass(frozen=True)
class RamFile:
    """The part of the file behind `descriptor` that begins at its byte `start`; see `Backing`."""

    descriptor: int
    start: int = 0

    def written(self, offset: int, size: int) -> Iterator[tuple[int, int]]:
        """Yield offset and size of the parts of a range that are not holes: lseek(2), SEEK_DATA."""
        at, end = self.start + offset, self.start + offset + size
        while at < end:
            try:
                begin = os.lseek(self.descriptor, at, os.SEEK_DATA)
            except OSError as error:
                if error.errno != errno.ENXIO:  # there is no data any more
                    raise
                return
            if begin >= end:
                return
            at = min(os.lseek(self.descriptor, begin, os.SEEK_HOLE), end)
            yield begin - self.start, at - begin

    def store(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write `data` without a page fault for each page."""
        rest = memoryview(data).cast("B")
        at = self.start + offset
        while rest:
            count = os.pwrite(self.descriptor, rest, at)
            rest, at = rest[count:], at + count


def ram_blocks(
    ram: memoryview, memory_map: Iterable[HvmMemmapTableEntry], file: RamFile | None = None
) -> list[RamBlock]:
    """Return where QEMU has put the RAM file: its end lies above 4 GiB as far as the guest's map says so.

    `ram` is its mapping, and `file` the file itself.
    """
    high = sum(
        entry.addr + entry.size - max(entry.addr, _FOUR_GIB)
        for entry in memory_map
        if entry.type == MemmapType.RAM and entry.addr + entry.size > _FOUR_GIB
    )
    if high > len(ram):
        raise GuestFault(f"the guest's memory map has {high:#x} bytes above 4 GiB, its RAM {len(ram):#x}")
    split = len(ram) - high
    blocks = [RamBlock(0, ram[:split], file)]
    if not high:
        return blocks
    return [*blocks, RamBlock(_FOUR_GIB, ram[split:], replace(file, start=split) if file else None)]
