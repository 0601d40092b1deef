# SPDX-License-Identifier: GPL-2.0-or-later
"""Flash memory that remembers each write, so that a crash can be had at any byte of any of them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from pvefi.efi.varstore.edk2 import Edk2Store, empty_store
from pvefi.efi.varstore.store import Variable
from pvefi.layout import Guid
from pvefi.spec.edk2.ovmf import StoreLayout
from pvefi.spec.uefi.variables import VariableAttribute

VENDOR = Guid.parse("11111111-2222-3333-4444-555555555555")
SMALL = StoreLayout("small", 0x400 + 0x100 + 0x400, 0x100, 0x400, 0x400, 0x100, 0x500, 0x400, 0x300)
"""A store so small that every byte of every write can be cut off: room for 924 bytes of variables."""
LAYOUTS = (SMALL,)

Contents = dict[str, bytes]


def variable(name: str, data: bytes = b"data", vendor: Guid = VENDOR) -> Variable:
    return Variable(name, vendor, VariableAttribute(7), data)


@dataclass
class Flash:
    """A Medium in memory; `steps` are its writes, None where everything before lasted."""

    contents: bytearray = field(default_factory=lambda: bytearray(empty_store(SMALL)))
    writable: bool = True
    fixed_size: bool = True
    name: str = "flash"
    steps: list[tuple[int, bytes] | None] = field(default_factory=list)

    def read(self, limit: int) -> bytes:
        return bytes(self.contents[:limit])

    def write(self, offset: int, data: bytes) -> None:
        assert offset + len(data) <= len(self.contents)
        self.steps.append((offset, data))
        self.contents[offset : offset + len(data)] = data

    def sync(self) -> None:
        self.steps.append(None)

    def close(self) -> None:
        pass


def store_on(flash: Flash) -> Edk2Store:
    return Edk2Store(flash, LAYOUTS)


def opened(contents: bytes | bytearray) -> Edk2Store:
    return store_on(Flash(bytearray(contents)))


def held(store: Edk2Store) -> Contents:
    return {one.name: one.data for one in store}


def cuts(before: bytes, steps: list[tuple[int, bytes] | None]) -> Iterator[bytearray]:
    """Yield what is there when the writes end after each of their bytes."""
    now = bytearray(before)
    yield bytearray(now)
    for step in steps:
        if step is None:
            continue
        offset, data = step
        for count, byte in enumerate(data):
            if now[offset + count] != byte:
                now[offset + count] = byte
                yield bytearray(now)


def losses(before: bytes, steps: list[tuple[int, bytes] | None], *, sector: int, seed: int) -> bytearray:
    """Return what a loss of power at a random point leaves: of what was not synced, any of the sectors."""
    dice = random.Random(seed)
    end = dice.randrange(len(steps) + 1)
    last = max((at + 1 for at in range(end) if steps[at] is None), default=0)
    now = bytearray(before)
    for at, step in enumerate(steps[:end]):
        if step is None:
            continue
        offset, data = step
        for start in range(offset - offset % sector, offset + len(data), sector):
            if at < last or dice.random() < 0.5:
                first, past = max(start, offset), min(start + sector, offset + len(data))
                now[first:past] = data[first - offset : past - offset]
    return now
