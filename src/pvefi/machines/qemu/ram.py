# SPDX-License-Identifier: GPL-2.0-or-later
"""The file that is a guest's RAM, by its descriptor: what was never touched is told, and costs nothing."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["RamFile"]


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
