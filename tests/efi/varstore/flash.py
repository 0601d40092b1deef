# SPDX-License-Identifier: GPL-2.0-or-later
"""Flash memory that remembers each write, so that a crash can be had at any byte of any of them."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from pvefi.efi.varstore.edk2 import Edk2Store, empty_store
from pvefi.efi.varstore.edk2_format import FIRST
from pvefi.efi.varstore.store import NO_TIME, StoreError, StoreFault, Variable, name_size
from pvefi.layout import Guid
from pvefi.spec.edk2.ovmf import StoreLayout
from pvefi.spec.edk2.variable_store import ADDED, VARIABLE_DATA, VariableHeader
from pvefi.spec.uefi.variables import VariableAttribute

VENDOR = Guid.parse("11111111-2222-3333-4444-555555555555")
SMALL = StoreLayout("small", 0x400 + 0x100 + 0x400, 0x100, 0x400, 0x400, 0x100, 0x500, 0x400, 0x300, 0x300)
"""A store so small that every byte of every write can be cut off: room for 924 bytes of variables."""
LAYOUTS = (SMALL,)

Contents = dict[str, bytes]


def variable(name: str, data: bytes = b"data", vendor: Guid = VENDOR, timestamp: bytes = NO_TIME) -> Variable:
    return Variable(name, vendor, VariableAttribute(7), data, timestamp)


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
    return lost_after(before, steps, dice.randrange(len(steps) + 1), sector=sector, dice=dice)


def lost_after(
    before: bytes, steps: list[tuple[int, bytes] | None], end: int, *, sector: int, dice: random.Random
) -> bytearray:
    """Return what a loss of power after the first `end` steps leaves."""
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


@dataclass
class ForgetfulFlash(Flash):
    """Flash behind a page cache, which keeps and takes for written what a failed sync could not write.

    `disk` is what a loss of power leaves; `syncs_left` syncs are good, then `failures` are not.
    """

    disk: bytearray = field(default_factory=bytearray)
    syncs_left: int = 1 << 30
    failures: int = 0
    _dirty: list[tuple[int, bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.disk = bytearray(self.contents)

    def write(self, offset: int, data: bytes) -> None:
        super().write(offset, data)
        self._dirty.append((offset, data))

    def sync(self) -> None:
        super().sync()
        dirty, self._dirty = self._dirty, []
        if not self.syncs_left and self.failures:
            self.failures -= 1
            raise StoreError(StoreFault.DEVICE, "Input/output error")
        self.syncs_left = max(0, self.syncs_left - 1)
        for offset, data in dirty:
            self.disk[offset : offset + len(data)] = data


def lookalikes() -> bytes:
    """Return data in which there is nothing but whole variables."""
    flash = Flash()
    store_on(flash).put(variable("Ghost", b"boo"))
    record = bytes(flash.contents[FIRST : FIRST + 60 + 12 + 4])
    assert record[-4:] == b"boo\xff"
    return record * 2


_HEADER = VariableHeader(VARIABLE_DATA, ADDED, 0, 7, 0, 0, VENDOR.wire).pack()[:8]
"""What a variable's header begins with; the same bytes may stand in a Guid and in an EFI_TIME."""
_SIZES = struct.pack("<II", 4, 4)  # of a name and of data


def headers_within_headers() -> tuple[Variable, ...]:
    """Return variables in whose own headers there is what looks like the header of another one."""
    rest = bytes(20) + _SIZES + VENDOR.wire + "Q\0".encode("utf-16-le") + b"evil"
    sizes = Guid(bytes(8) + _SIZES)  # where the header that begins in the timestamp has its own
    stamp = _HEADER + bytes(8)
    ghost = b"Q\0\0\0" * 6
    return (
        variable("Nn", rest[name_size("Nn") :], Guid(_HEADER + bytes(8))),
        variable("T", ghost, sizes, stamp),
        variable("U", ghost + lookalikes(), sizes, stamp),
    )


def short_header_within_a_header() -> Variable:
    """Return such a variable for a store without timestamps."""
    return variable("S", VENDOR.wire + "Q\0".encode("utf-16-le") + b"evil", Guid(_HEADER + _SIZES))
