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
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
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

from pvefi.efi.arguments import (
    CHAR16_LIMIT,
    Arguments,
    In,
    InOut,
    Out,
    Text,
    TypedPointer,
    VarArgs,
    read_char16,
)
from pvefi.efi.errors import EfiError
from pvefi.guest.mailbox import Commit, Copy, Enter, Fill, Upcall
from pvefi.layout import Guid, Scalar
from pvefi.memory import Memory
from pvefi.spec.uefi.status import EfiStatus
from pvefi.trace.events import Address, Value, cut
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

Steps = Generator[Upcall | Copy | Fill | Commit | Enter, int, T]
"""A service body that needs the guest's CPU: it yields an Upcall, Copy or Fill and is sent what came of it.

An entry may yield Enter, from which nothing comes back.
"""


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
    if issubclass(base, IntEnum | IntFlag) or base is Address:
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
            # All at once: environments of other threads have the same services.
            self._parameters[:] = [
                _Parameter(name, _spec_spelling(name), _decoder(_spec_spelling(name), hints[name]))
                for name in names
            ]
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
            [
                (parameter.spec_name, value.value)
                for parameter, value in zip(self.parameters(), values, strict=True)
                if isinstance(value, Out) and value.value is not None
            ]
        )


_READ = (In, InOut, Text)
_POINTERS = (TypedPointer, Text)


def _traced(value: Any) -> Value:
    if isinstance(value, _READ) and value.given is not None:
        value = value.given
    if isinstance(value, str):
        return cut(value)
    return value.address if isinstance(value, _POINTERS) else cast(Value, value)


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
