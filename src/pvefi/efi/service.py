# SPDX-License-Identifier: GPL-2.0-or-later
"""Declares EFI services as plain typed Python functions.

A declaration's signature is the single source: it decodes the guest's arguments, names them in the trace by
the specification's spelling, and yields the coverage table in docs/. A body never sees a register, so a test
calls it as plain Python: `allocate_pages(efi, AllocateType.ANY_PAGES, ...)`.

Parameter annotations and what they decode to:

| annotation | the guest passes | the body gets |
|---|---|---|
| UINTN, UINT64, UINT32, UINT16, UINT8, TPL | a value | int, cut to its width |
| BOOLEAN | a value | bool |
| Annotated[SomeEnum, Scalar("I")] | a value | the enumeration member, cut to its width |
| Handle, Pointer | an address or handle | Address, 0 allowed |
| Guid | EFI_GUID * | the Guid; NULL is INVALID_PARAMETER |
| str | CHAR16 * | the text; NULL is INVALID_PARAMETER |
| In[T], Out[T], InOut[T] | T * | a typed pointer; NULL is INVALID_PARAMETER |
| Text | CHAR16 * | the text once the body has asked for it; NULL is INVALID_PARAMETER |
| `... | None` of the four above | NULL allowed | None for NULL |
| VarArgs | ... | the further arguments, one by one |
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from types import ModuleType, NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Concatenate,
    Generic,
    ParamSpec,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from pvefi.efi.errors import EfiError
from pvefi.guest.mailbox import Copy, Upcall
from pvefi.layout import Guid, Scalar
from pvefi.memory import Memory
from pvefi.spec.uefi.status import EfiStatus
from pvefi.trace.events import Address, Value
from pvefi.verdict import Verdict

__all__ = [
    "BOOLEAN",
    "CHAR16_LIMIT",
    "TPL",
    "UINT16",
    "UINT32",
    "UINT64",
    "UINT8",
    "UINTN",
    "Arguments",
    "ExitImage",
    "Handle",
    "In",
    "InOut",
    "Out",
    "Pointer",
    "EndRun",
    "Service",
    "Steps",
    "Text",
    "VarArgs",
    "read_char16",
    "service",
    "services_of",
]

T = TypeVar("T")
P = ParamSpec("P")
R = TypeVar("R")

UINTN = Annotated[int, Scalar("Q")]
UINT64 = Annotated[int, Scalar("Q")]
UINT32 = Annotated[int, Scalar("I")]
UINT16 = Annotated[int, Scalar("H")]
UINT8 = Annotated[int, Scalar("B")]
TPL = Annotated[int, Scalar("Q")]
BOOLEAN = Annotated[bool, Scalar("B")]
Handle = Annotated[Address, Scalar("Q")]
Pointer = Annotated[Address, Scalar("Q")]

CHAR16_LIMIT = 0x8000
"""The longest string, in characters, that a service reads from a guest."""

Steps = Generator[Upcall | Copy, int, T]
"""A service body that needs the guest's CPU: it yields an Upcall or Copy and is sent what came of it."""


@dataclass(frozen=True)
class ExitImage:
    """What the body of Exit() returns: leave the image `handle`, whose StartImage gets `status`."""

    handle: int
    status: EfiStatus


@dataclass(frozen=True)
class EndRun:
    """What a body returns to end the run, as WaitForEvent() does when nothing can signal."""

    verdict: Verdict


_WIDTHS = {"B": 1, "H": 2, "I": 4, "Q": 8}


@dataclass(slots=True)
class _TypedPointer(Generic[T]):
    """A pointer to a T in the guest; `address` is the guest's own."""

    memory: Memory
    address: Address
    size: int
    convert: Callable[[int], T] | None

    def _fetch(self) -> T:
        data = self.memory.read(self.address, self.size)
        return self.convert(int.from_bytes(data, "little")) if self.convert else cast(T, Guid(data))


@dataclass(slots=True)
class In(_TypedPointer[T]):
    """A pointer that a service reads a T from, when it needs to; `given` is what it read."""

    given: T | None = None

    def get(self) -> T:
        """Return what the guest stored; GuestFault when the pointer is wild."""
        self.given = self._fetch()
        return self.given


@dataclass(slots=True)
class Out(_TypedPointer[T]):
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
        count = min(memory.contiguous(address), 256, 2 * limit - len(data)) & ~1
        chunk = memory.read(address, count or 2)
        for at in range(0, len(chunk), 2):
            if not chunk[at] and not chunk[at + 1]:
                return (data + chunk[:at]).decode("utf-16-le", "surrogatepass")
        data += chunk
        address += len(chunk)
    raise EfiError(EfiStatus.INVALID_PARAMETER, f"a string without an end in {limit} characters")


_Decoder = Callable[[Arguments, int], Any]


def _nullable(optional: bool, name: str, make: Callable[[Memory, int], Any]) -> _Decoder:
    def decode(arguments: Arguments, index: int) -> Any:
        word = arguments.word(index)
        if word:
            return make(arguments.memory, word)
        if optional:
            return None
        raise EfiError(EfiStatus.INVALID_PARAMETER, f"{name} is NULL")

    return decode


def _scalar(hint: Any) -> tuple[int, Callable[[int], Any]]:
    """Return the width in bytes and the conversion of one annotated scalar."""
    base, note = get_args(hint)
    width = _WIDTHS[note.code]
    mask = (1 << 8 * width) - 1
    if base is int:
        return width, (lambda word: word & mask) if width < 8 else int
    if base is bool:
        return width, lambda word: word & mask != 0
    if issubclass(base, IntEnum) or base is Address:
        return width, lambda word: base(word & mask)
    raise TypeError(f"{hint!r} is no service parameter")


def _decoder(name: str, hint: Any) -> _Decoder:
    optional = get_origin(hint) in (Union, UnionType)
    if optional:
        (hint,) = [part for part in get_args(hint) if part is not NoneType]
    kind = get_origin(hint)
    if kind is Annotated:
        _, cut = _scalar(hint)
        return lambda arguments, index: cut(arguments.word(index))
    if hint is Guid:
        return _nullable(optional, name, lambda memory, word: Guid(memory.read(word, 16)))
    if hint is str:
        return _nullable(optional, name, read_char16)
    if hint is Text:
        return _nullable(optional, name, lambda memory, word: Text(memory, Address(word)))
    if hint is VarArgs:
        return VarArgs
    if kind in (In, Out, InOut):
        (target,) = get_args(hint)
        size: int = Guid.SIZE
        convert: Callable[[int], Any] | None = None
        if target is not Guid:
            size, convert = _scalar(target)
        return _nullable(optional, name, lambda memory, word: kind(memory, Address(word), size, convert))
    raise TypeError(f"{name}: {hint!r} is no service parameter")


def _spec_spelling(name: str) -> str:
    """Return `memory_type` as MemoryType: the style's rule for names, backwards."""
    return "".join(part[:1].upper() + part[1:] for part in name.strip("_").split("_"))


@dataclass(frozen=True)
class _Parameter:
    name: str
    spec_name: str
    decode: _Decoder


@dataclass(frozen=True)
class Service(Generic[P, R]):
    """One service or protocol function.

    `returns_status` is False for functions that return a size, a TPL or nothing: they fail with 0.
    """

    name: str
    spec: str
    body: Callable[P, R]
    returns_status: bool = True
    _parameters: list[_Parameter] = field(default_factory=list, compare=False, repr=False)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the body as plain Python."""
        return self.body(*args, **kwargs)

    @property
    def doc(self) -> str:
        """The body's docstring, first line."""
        return (inspect.getdoc(self.body) or "").partition("\n")[0]

    def parameters(self) -> list[_Parameter]:
        """Return how each parameter is decoded, worked out from the signature at the first call."""
        if not self._parameters:
            hints = get_type_hints(self.body, include_extras=True)
            names = list(inspect.signature(self.body).parameters)[1:]
            self._parameters.extend(
                _Parameter(name, _spec_spelling(name), _decoder(_spec_spelling(name), hints[name]))
                for name in names
            )
        return self._parameters

    def decode(self, arguments: Arguments) -> list[Any]:
        """Return the decoded arguments; EfiError for a NULL that may not be, GuestFault for a wild one."""
        return [parameter.decode(arguments, index) for index, parameter in enumerate(self.parameters())]

    def traced(self, values: list[Any]) -> tuple[tuple[str, Value], ...]:
        """Return decoded arguments as the trace records them: pointers by what was read there, or address."""
        shown: list[tuple[str, Value]] = []
        for parameter, value in zip(self.parameters(), values, strict=True):
            if isinstance(value, VarArgs):
                shown += value.shown
            else:
                shown.append((parameter.spec_name, _traced(value)))
        return tuple(shown)

    def raw(self, registers: tuple[int, int, int, int]) -> tuple[tuple[str, Value], ...]:
        """Return the register arguments undecoded, for the trace of a call that got no further."""
        return tuple(
            (parameter.spec_name, Address(word))
            for parameter, word in zip(self.parameters(), registers, strict=False)
        )

    def outputs(self, values: list[Any]) -> tuple[tuple[str, Value], ...]:
        """Return what the body stored through its Out parameters."""
        return tuple(
            (parameter.spec_name, value.value)
            for parameter, value in zip(self.parameters(), values, strict=True)
            if isinstance(value, Out) and value.value is not None
        )


def _traced(value: Any) -> Value:
    if isinstance(value, In | InOut | Text) and value.given is not None:
        return cast(Value, value.given)
    return value.address if isinstance(value, _TypedPointer | Text) else cast(Value, value)


def service(
    name: str, spec: str, *, returns_status: bool = True
) -> Callable[[Callable[Concatenate[Any, P], R]], Service[Concatenate[Any, P], R]]:
    """Declare the function below as the service `name` of section `spec`.

    Its first parameter is the environment; the statuses that it raises stand in its docstring.
    """

    def declare(body: Callable[Concatenate[Any, P], R]) -> Service[Concatenate[Any, P], R]:
        return Service(name, spec, body, returns_status)

    return declare


def services_of(*modules: ModuleType) -> dict[str, Service[..., Any]]:
    """Return the services that `modules` declare, by specification name."""
    return {
        value.name: value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, Service)
    }
