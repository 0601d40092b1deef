# SPDX-License-Identifier: GPL-2.0-or-later
"""Calls of variable services as values: what a guest passes, and what came of it.

Sizes need not match what stands behind a pointer, and None is a NULL pointer. What a service may write to is
filled beforehand, so that what it leaves alone is seen.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from pvefi.layout import Guid
from pvefi.spec.uefi.status import EfiStatus
from pvefi.spec.uefi.tables import RUNTIME_SERVICES_SLOTS, TableHeader

FILL = 0x5A
"""What a buffer holds that a service may write to."""
UNTOUCHED = 0xA5A5A5A5A5A5A5A5
"""What a number is that a service may write."""

_EXIT_BOOT_SERVICES, _WALK = 0, 1  # interpreter.S
_HEADER = struct.Struct("<IHHII5Q")


def _kind(service: str) -> int:
    return TableHeader.SIZE + 8 * RUNTIME_SERVICES_SLOTS.index(service)


def wide(text: str) -> bytes:
    """Return a name as it stands in a guest's memory, with its NUL."""
    return f"{text}\0".encode("utf-16-le", "surrogatepass")


@dataclass
class _Record:
    """An operation as the interpreter takes it; `offset` is from the list's start."""

    kind: int
    offset: int
    data: bytearray = field(default_factory=lambda: bytearray(_HEADER.size))
    arguments: list[int] = field(default_factory=list)
    pointers: int = 0

    def number(self, value: int) -> None:
        """Pass a number."""
        self.arguments.append(value)

    def pointer(self, content: bytes | None) -> None:
        """Pass a pointer to `content`, or NULL."""
        if content is None:
            self.arguments.append(0)
            return
        self.pointers |= 1 << len(self.arguments)
        self.arguments.append(self.offset + len(self.data))
        self.data += content + bytes(-len(content) % 8)

    def packed(self, output: int = 0) -> bytes:
        """Return the record, of which what lies from `output` on is written after the call; 0 for nothing."""
        words = (*self.arguments, *(0,) * (5 - len(self.arguments)))
        place = (self.offset + output, len(self.data) - output) if output else (0, 0)
        _HEADER.pack_into(self.data, 0, len(self.data), self.kind, self.pointers, *place, *words)
        return bytes(self.data)


@dataclass(frozen=True)
class Outcome:
    """What a call came to: its status, and what then stood where it could write."""

    status: EfiStatus
    outputs: tuple[object, ...] = ()

    def __str__(self) -> str:
        shown = [f"{one:#x}" if isinstance(one, int) else _short(one) for one in self.outputs]
        return " ".join([self.status.name if self.status.name else hex(self.status), *shown])


def _short(value: object) -> str:
    text = value.hex() if isinstance(value, bytes) else str(value)
    return text if len(text) < 80 else f"{text[:60]}...({len(text)})"


class Operation(ABC):
    """Something that the program does; it has as many outputs as `Outcome.outputs` has members."""

    @abstractmethod
    def record(self, offset: int) -> bytes:
        """Return what the interpreter takes, for a place `offset` bytes from the list's start."""

    def outputs(self, data: bytes) -> tuple[object, ...]:
        """Return what was written, of the bytes that the operation names."""
        assert not data
        return ()

    def output_size(self) -> int:
        """Return how many bytes it names."""
        offset, size = struct.unpack_from("<II", self.record(0), 8)
        del offset
        return int(size)


@dataclass(frozen=True)
class SetVariable(Operation):
    """SetVariable(); `size` None is that of the data."""

    name: bytes | None
    vendor: Guid | None
    attributes: int
    data: bytes | None
    size: int | None = None

    @property
    def data_size(self) -> int:
        """DataSize."""
        return len(self.data or b"") if self.size is None else self.size

    def record(self, offset: int) -> bytes:
        record = _Record(_kind("SetVariable"), offset)
        record.pointer(self.name)
        record.pointer(self.vendor.wire if self.vendor else None)
        record.number(self.attributes)
        record.number(self.data_size)
        record.pointer(self.data)
        return record.packed()


@dataclass(frozen=True)
class GetVariable(Operation):
    """GetVariable(); `size` is what the guest says of its buffer of `room` bytes, None a NULL pointer.

    Outputs: the size, the attributes, the buffer.
    """

    name: bytes | None
    vendor: Guid | None
    size: int | None
    room: int | None
    wants_attributes: bool = True

    def record(self, offset: int) -> bytes:
        record = _Record(_kind("GetVariable"), offset)
        record.pointer(self.name)
        record.pointer(self.vendor.wire if self.vendor else None)
        output = len(record.data)
        record.pointer(UNTOUCHED.to_bytes(8, "little") if self.wants_attributes else None)
        record.pointer(None if self.size is None else self.size.to_bytes(8, "little"))
        record.pointer(None if self.room is None else bytes([FILL]) * self.room)
        has_output = self.wants_attributes or self.size is not None or self.room is not None
        return record.packed(output if has_output else 0)

    def outputs(self, data: bytes) -> tuple[object, ...]:
        attributes = size = None
        if self.wants_attributes:
            attributes, data = int.from_bytes(data[:8], "little"), data[8:]
        if self.size is not None:
            size, data = int.from_bytes(data[:8], "little"), data[8:]
        return size, attributes, None if self.room is None else data[: self.room]


@dataclass(frozen=True)
class GetNextVariableName(Operation):
    """GetNextVariableName(); `name` is the whole buffer, of any length.

    Outputs: the size, the buffer, the GUID.
    """

    size: int | None
    name: bytes | None
    vendor: Guid | None

    def record(self, offset: int) -> bytes:
        record = _Record(_kind("GetNextVariableName"), offset)
        output = len(record.data)
        record.pointer(None if self.size is None else self.size.to_bytes(8, "little"))
        record.pointer(self.name)
        record.pointer(self.vendor.wire if self.vendor else None)
        has_output = self.size is not None or self.name is not None or self.vendor is not None
        return record.packed(output if has_output else 0)

    def outputs(self, data: bytes) -> tuple[object, ...]:
        size = name = vendor = None
        if self.size is not None:
            size, data = int.from_bytes(data[:8], "little"), data[8:]
        if self.name is not None:
            name, data = data[: len(self.name)], data[len(self.name) + -len(self.name) % 8 :]
        if self.vendor is not None:
            vendor = Guid(data[:16])
        return size, name, vendor


@dataclass(frozen=True)
class QueryVariableInfo(Operation):
    """QueryVariableInfo(); `wanted` says which of the three numbers have a place.

    Outputs: largest size of all, what is left of it, largest size of one.
    """

    attributes: int
    wanted: tuple[bool, bool, bool] = (True, True, True)

    def record(self, offset: int) -> bytes:
        record = _Record(_kind("QueryVariableInfo"), offset)
        record.number(self.attributes)
        output = len(record.data)
        for wanted in self.wanted:
            record.pointer(UNTOUCHED.to_bytes(8, "little") if wanted else None)
        return record.packed(output if any(self.wanted) else 0)

    def outputs(self, data: bytes) -> tuple[object, ...]:
        numbers = iter(struct.unpack(f"<{len(data) // 8}Q", data))
        return tuple(next(numbers) if wanted else None for wanted in self.wanted)


@dataclass(frozen=True)
class ExitBootServices(Operation):
    """ExitBootServices(), with the memory map's key."""

    def record(self, offset: int) -> bytes:
        return _Record(_EXIT_BOOT_SERVICES, offset).packed()


@dataclass(frozen=True)
class Walk(Operation):
    """GetNextVariableName() from the first variable to the last, each time with room for the name before it.

    Outputs: each name found, its GUID, and the size that was told first when there was too little room.
    """

    def record(self, offset: int) -> bytes:
        return _Record(_WALK, offset).packed()


Found = tuple[bytes, Guid, int | None]
"""One variable that a walk has found."""


def read_walk(data: bytes, at: int) -> tuple[Outcome, int]:
    """Return what a walk came to whose outputs begin at `at`, and where they end."""
    found: list[Found] = []
    told = None
    while True:
        status, size = struct.unpack_from("<QQ", data, at)
        at += 16
        if status == EfiStatus.BUFFER_TOO_SMALL:
            told = size
            continue
        if status:
            return Outcome(EfiStatus(status), tuple(found)), at
        found.append((data[at + 16 : at + 16 + size], Guid(data[at : at + 16]), told))
        at, told = at + 16 + size, None
