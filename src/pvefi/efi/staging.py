# SPDX-License-Identifier: GPL-2.0-or-later
"""Holds back what a service stores until the guest itself stores it.

After ExitBootServices a guest that has waited too long for an answer goes on without it. What the host then
still wrote would land in memory that is somebody else's by now, so the host writes nothing but its own
staging area: the guest copies from there, and only when it has seen its own call answered.
"""

from __future__ import annotations

from collections.abc import Sequence

from pvefi.guest.mailbox import STAGING_SIZE, Store, staged_size
from pvefi.memory import Memory, Source

__all__ = ["StagedMemory", "batches"]

_LARGEST = STAGING_SIZE - staged_size(Store(0, b""))


class StagedMemory:
    """Memory as a caller sees it, read at once and stored to later; `take` gives what is to be stored."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._stores: list[Store] = []

    def read(self, address: int, size: int) -> bytes:
        """Return `size` bytes at `address` as they will be; GuestFault where that is not memory."""
        data = self._memory.read(address, size)
        for store in self._stores:
            start, end = max(store.target, address), min(store.target + len(store.data), address + size)
            if start < end:
                part = store.data[start - store.target : end - store.target]
                data = data[: start - address] + part + data[end - address :]
        return data

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """Have `data` stored at `address`; GuestFault where that is not memory."""
        self._memory.storable(address, len(data))
        self._stores.append(Store(address, bytes(data)))

    def storable(self, address: int, size: int) -> None:
        """Do nothing where `size` bytes may be stored at `address`, else GuestFault."""
        self._memory.storable(address, size)

    def take_in(self, address: int, size: int, source: Source) -> int:
        """Have what `source` fills a buffer of `size` bytes with stored at `address`, and return how much."""
        buffer = bytearray(size)
        count = source((memoryview(buffer),))
        self.write(address, buffer[:count])
        return count

    def contiguous(self, address: int) -> int:
        """Return how many bytes from `address` on can be reached without another look-up; 0 for none."""
        return self._memory.contiguous(address)

    def take(self) -> tuple[Store, ...]:
        """Return what was written, in order, and forget it."""
        stores, self._stores = self._stores, []
        return tuple([store for store in stores if store.data])


def batches(stores: Sequence[Store]) -> list[tuple[Store, ...]]:
    """Return `stores` in groups that fit into the staging area; a large one is cut into pieces."""
    if 0 < sum(map(staged_size, stores)) <= STAGING_SIZE:
        return [tuple(stores)]
    pieces = [
        Store(store.target + at, store.data[at : at + _LARGEST])
        for store in stores
        for at in range(0, len(store.data), _LARGEST)
    ]
    groups: list[list[Store]] = []
    left = 0
    for piece in pieces:
        size = staged_size(piece)
        if size > left:
            groups.append([])
            left = STAGING_SIZE
        groups[-1].append(piece)
        left -= size
    return [tuple(group) for group in groups]
