# SPDX-License-Identifier: GPL-2.0-or-later
"""Declares little-endian binary structures as frozen dataclasses, checked against their specified size.

`@layout(size=N)` takes the size that the *specification* gives and refuses, at import, a declaration of any
other size. Wire enumerations are open: a value without a name survives a round trip.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import IntEnum
from operator import itemgetter
from typing import (
    Annotated,
    Any,
    ClassVar,
    Self,
    TypeVar,
    dataclass_transform,
    get_args,
    get_origin,
    get_type_hints,
)
from uuid import UUID

__all__ = [
    "Array",
    "Bytes",
    "Guid",
    "OpenEnum",
    "Ptr",
    "S16",
    "S32",
    "S64",
    "S8",
    "Scalar",
    "Structure",
    "U16",
    "U32",
    "U64",
    "U8",
    "layout",
]


@dataclass(frozen=True, slots=True)
class Scalar:
    """One integer on the wire; `code` is its `struct` letter. An enumeration may carry it too."""

    code: str


@dataclass(frozen=True, slots=True)
class Bytes:
    """A fixed run of `count` raw bytes."""

    count: int


@dataclass(frozen=True, slots=True)
class Array:
    """A fixed array of `count` elements, each an integer of `struct` letter `code` or a whole structure."""

    count: int
    code: str = ""


U8 = Annotated[int, Scalar("B")]
U16 = Annotated[int, Scalar("H")]
U32 = Annotated[int, Scalar("I")]
U64 = Annotated[int, Scalar("Q")]
S8 = Annotated[int, Scalar("b")]
S16 = Annotated[int, Scalar("h")]
S32 = Annotated[int, Scalar("i")]
S64 = Annotated[int, Scalar("q")]
Ptr = U64


class OpenEnum(IntEnum):
    """An enumeration that anyone may extend: an unknown value becomes a nameless member, never an error."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, int):
            return None
        member = int.__new__(cls, value)
        member._name_, member._value_ = f"{cls.__name__}({value:#x})", value
        return member

    @property
    def known(self) -> bool:
        """Whether the specification names this value."""
        return self._value_ in type(self)._value2member_map_


@dataclass(frozen=True, slots=True, order=True)
class Guid:
    """EFI_GUID, 16 bytes: the first three fields little-endian (UEFI 2.10 Appendix A)."""

    SIZE: ClassVar[int] = 16
    wire: bytes

    @classmethod
    def parse(cls, text: str) -> Guid:
        """Return the GUID written as xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx; ValueError when it is not one."""
        return cls(UUID(text).bytes_le)

    def __str__(self) -> str:
        return str(UUID(bytes_le=self.wire))


class Structure:
    """A structure of fixed size in guest memory or in an image file."""

    SIZE: ClassVar[int]
    _codec: ClassVar[struct.Struct]
    _offsets: ClassVar[dict[str, int]]
    _parts: ClassVar[tuple[_Part, ...]]
    _plain: ClassVar[bool]

    @classmethod
    def unpack(cls, data: bytes | bytearray | memoryview, offset: int = 0) -> Self:
        """Return the structure at `offset`; struct.error when `data` ends before it does."""
        words = cls._codec.unpack_from(data, offset)
        if cls._plain:
            return cls(*words)
        values, at = [], 0
        for part in cls._parts:
            values.append(part.decode(words[at : at + part.words]))
            at += part.words
        return cls(*values)

    @classmethod
    def picker(cls, *names: str) -> Callable[[bytes | bytearray | memoryview, int], tuple[Any, ...]]:
        """Return what reads only the fields `names`, at least two, of the structure at an offset.

        It makes no structure, for those who read very many. TypeError unless each field is one word.
        """
        if not cls._plain:
            raise TypeError(f"{cls.__name__} has fields of several words")
        places = list(cls._offsets)
        unpack, pick = cls._codec.unpack_from, itemgetter(*map(places.index, names))
        return lambda data, offset: pick(unpack(data, offset))

    def pack(self) -> bytes:
        """Return the structure's SIZE bytes."""
        if self._plain:
            return self._codec.pack(*(getattr(self, name) for name in self._offsets))
        words: list[Any] = []
        for name, part in zip(self._offsets, self._parts, strict=True):
            words += part.encode(getattr(self, name))
        return self._codec.pack(*words)

    @classmethod
    def offset_of(cls, name: str) -> int:
        """Return the offset in bytes of the field `name`."""
        return cls._offsets[name]


@dataclass(frozen=True, slots=True)
class _Part:
    """How one field goes to and from the `struct` words that it takes."""

    code: str
    words: int
    decode: Callable[[tuple[Any, ...]], Any]
    encode: Callable[[Any], tuple[Any, ...]]
    plain: bool = False


def _first(words: tuple[Any, ...]) -> Any:
    return words[0]


def _alone(value: Any) -> tuple[Any, ...]:
    return (value,)


def _part(hint: Any) -> _Part:
    base, *notes = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    note = notes[0] if notes else None
    if isinstance(note, Scalar):
        if base is int:
            return _Part(note.code, 1, _first, _alone, plain=True)
        return _Part(note.code, 1, lambda words: base(words[0]), lambda value: (int(value),))
    if isinstance(note, Bytes):
        return _Part(f"{note.count}s", 1, _first, _alone, plain=True)
    if isinstance(note, Array) and note.code:
        return _Part(f"{note.count}{note.code}", note.count, tuple, tuple)
    if isinstance(note, Array):
        (element, _) = get_args(base)
        size = element.SIZE
        return _Part(
            f"{note.count * size}s",
            1,
            lambda words: tuple(element.unpack(words[0], at * size) for at in range(note.count)),
            lambda value: (b"".join(item.pack() for item in value),),
        )
    if base is Guid:
        return _Part("16s", 1, lambda words: Guid(words[0]), lambda value: (value.wire,))
    if isinstance(base, type) and issubclass(base, Structure):
        return _Part(f"{base.SIZE}s", 1, lambda words: base.unpack(words[0]), lambda value: (value.pack(),))
    raise TypeError(f"{hint!r} has no layout")


S = TypeVar("S", bound=Structure)


@dataclass_transform(frozen_default=True)
def layout(*, size: int) -> Callable[[type[S]], type[S]]:
    """Declare the class below as a packed structure of `size` bytes, the size its specification gives."""

    def declare(cls: type[S]) -> type[S]:
        made: Any = dataclass(frozen=True)(cls)
        hints = get_type_hints(made, include_extras=True)
        code, offsets, parts = "<", {}, []
        for field in fields(made):
            part = _part(hints[field.name])
            offsets[field.name] = struct.calcsize(code)
            code += part.code
            parts.append(part)
        made._codec, made._offsets, made._parts = struct.Struct(code), offsets, tuple(parts)
        made._plain = all(part.plain for part in parts)
        made.SIZE = made._codec.size
        if size != made.SIZE:
            raise TypeError(f"{cls.__name__} is {made.SIZE:#x} bytes, its specification says {size:#x}")
        return cls

    return declare
