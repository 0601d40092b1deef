# SPDX-License-Identifier: GPL-2.0-or-later
"""The arguments of one service call: words where the calling convention puts them, and typed pointers.

`service` re-exports what bodies use of it, so that a module of services has one import.
"""

from __future__ import annotations

from codecs import utf_16_le_decode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar, cast

from pvefi.efi.errors import EfiError
from pvefi.errors import GuestFault
from pvefi.layout import Guid
from pvefi.memory import Memory
from pvefi.spec.uefi.memory import PAGE_SIZE
from pvefi.spec.uefi.status import EfiStatus
from pvefi.trace.events import Address, Value

__all__ = [
    "CHAR16_LIMIT",
    "Arguments",
    "In",
    "InOut",
    "Out",
    "Text",
    "TypedPointer",
    "VarArgs",
    "read_char16",
]

T = TypeVar("T")

CHAR16_LIMIT = 0x8000
"""The longest string, in characters, that a service reads from a guest."""
_NUL = b"\0\0"
_CHUNK = 256  # bytes that are looked at together


@dataclass(slots=True)
class TypedPointer(Generic[T]):
    """A pointer to a T in the guest; `address` is the guest's own."""

    memory: Memory
    address: Address
    size: int
    convert: Callable[[int], T] | None

    def _fetch(self) -> T:
        data = self.memory.read(self.address, self.size)
        return self.convert(int.from_bytes(data, "little")) if self.convert else cast(T, Guid(data))


@dataclass(slots=True)
class In(TypedPointer[T]):
    """A pointer that a service reads a T from, when it needs to; `given` is what it read."""

    given: T | None = None

    def get(self) -> T:
        """Return what the guest stored; GuestFault when the pointer is wild."""
        self.given = self._fetch()
        return self.given


@dataclass(slots=True)
class Out(TypedPointer[T]):
    """A pointer that a service writes a T through."""

    value: T | None = None

    def set(self, value: T) -> None:
        """Store `value` in the guest; GuestFault when the pointer is wild."""
        self.value = value
        data = value.wire if isinstance(value, Guid) else int(cast(int, value)).to_bytes(self.size, "little")
        self.memory.write(self.address, data)


@dataclass(slots=True)
class InOut(Out[T]):
    """A pointer that a service reads a T from, and writes one through; `given` is what it read first."""

    given: T | None = None

    def get(self) -> T:
        """Return what the guest stored; GuestFault when the pointer is wild."""
        found = self._fetch()
        if self.given is None:
            self.given = found
        return found


@dataclass(slots=True)
class Text:
    """A string in a buffer of the guest that another argument gives the size of; `given` is what it read."""

    memory: Memory
    address: Address
    given: str | None = None

    def get(self, size: int) -> str:
        """Return the string in a buffer of `size` bytes; GuestFault when the pointer is wild.

        EfiError: INVALID_PARAMETER when nothing ends it in the buffer, or within CHAR16_LIMIT characters.
        """
        self.given = read_char16(self.memory, self.address, min(size // 2, CHAR16_LIMIT))
        return self.given


@dataclass(slots=True)
class Arguments:
    """The words of one call, as the Microsoft x64 convention lays them out.

    `registers` are rcx, rdx, r8 and r9; further ones lie on the caller's stack from `stack_pointer` + 0x28
    (guest virtual).
    """

    memory: Memory
    registers: tuple[int, int, int, int]
    stack_pointer: int

    def word(self, index: int) -> int:
        """Return argument `index`, counting from 0; GuestFault when the stack is wild."""
        if index < 4:
            return self.registers[index]
        return int.from_bytes(self.memory.read(self.stack_pointer + 8 * (index + 1), 8), "little")


@dataclass(slots=True)
class VarArgs:
    """The arguments beyond the declared ones, read one after the other.

    A body that knows what they mean enters them in `shown`, name and value, for the trace.
    """

    arguments: Arguments
    first: int
    shown: list[tuple[str, Value]] = field(default_factory=list)

    def __iter__(self) -> Iterator[int]:
        index = self.first
        while True:
            yield self.arguments.word(index)
            index += 1


def read_char16(memory: Memory, address: int, limit: int = CHAR16_LIMIT) -> str:
    """Return the NUL-terminated UCS-2 string at `address` (guest).

    GuestFault where memory ends before it does; EfiError when no NUL is among its first `limit` characters.
    """
    data = bytearray()
    while len(data) < 2 * limit:
        count = min(PAGE_SIZE - address % PAGE_SIZE, _CHUNK, 2 * limit - len(data)) & ~1 or 2
        try:
            chunk = memory.read(address, count)
        except GuestFault:  # memory that ends within a page
            chunk = memory.read(address, min(count, memory.contiguous(address) & ~1 or 2))
        end = chunk.find(_NUL)
        while end > 0 and end % 2:  # the end of one character and the beginning of the next
            end = chunk.find(_NUL, end + 1)
        if end >= 0:
            return utf_16_le_decode(data + chunk[:end], "surrogatepass", True)[0]
        data += chunk
        address += len(chunk)
    raise EfiError(EfiStatus.INVALID_PARAMETER, f"a string without an end in {limit} characters")
