# SPDX-License-Identifier: GPL-2.0-or-later
"""What of a call is compared with a call of another boot: parts by name, addresses and map keys by role.

An address or map key that an earlier call gave out plays the part of that call's output. Any other address
is the guest's own, and only whether it is NULL tells anything. Reasons, times and counts are not compared.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from pvefi.layout import Guid
from pvefi.trace.events import Address, CallEvent, Value

__all__ = ["ComparedCall", "Origin", "Part", "compared_calls"]

_MAP_KEY = "MapKey"  # UEFI 2.10 §7.2.3: GetMemoryMap's name for it, and ExitBootServices'
_TIME_OUTPUTS = frozenset(
    {("GetTime", "Time"), ("GetWakeupTime", "Time"), ("GetNextMonotonicCount", "Count")}
)


@dataclass(frozen=True, slots=True)
class Origin:
    """Which output of which call gave a value out; `position` is the call's place among its trace's calls."""

    position: int
    service: str
    output: str
    index: int

    def __str__(self) -> str:
        return f"{self.output} of call {self.index}"


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a call: `kind` is "argument", "output", "status", "result" or "depth".

    Parts are equal when `key` is, and where both have an `origin` when that corresponds too. `value` is what
    the trace has; a status is its own name.
    """

    kind: str
    name: str
    value: Value
    key: Hashable
    origin: Origin | None = None

    @property
    def told(self) -> bool:
        """Whether the value itself is compared, not only that there is one."""
        return self.origin is not None or self.key not in (_SOME_ADDRESS, _SOME_TIME, _SOME_MAP_KEY)


@dataclass(frozen=True, slots=True)
class ComparedCall:
    """A call with its parts in order; `key` is equal for calls that are equal but for their origins."""

    event: CallEvent
    parts: tuple[Part, ...]
    key: Hashable


_NULL = "NULL"
_SOME_ADDRESS = "an address"
_SOME_TIME = "a time"
_SOME_MAP_KEY = "a map key"


def compared_calls(events: Sequence[CallEvent]) -> list[ComparedCall]:
    """Return the calls, each with what is compared of it."""
    given: dict[tuple[bool, int], Origin] = {}
    calls = []
    for position, event in enumerate(events):
        parts = [_part("argument", name, value, given) for name, value in event.arguments]
        parts.append(_status(event))
        parts.append(_part("result", "", event.result, given))
        for name, value in event.outputs:
            is_time = (event.service, name) in _TIME_OUTPUTS
            parts.append(Part("output", name, value, _SOME_TIME if is_time else _key(name, value)))
        parts.append(Part("depth", "", event.depth, event.depth))
        key = (event.service, tuple((part.kind, part.name, part.key) for part in parts))
        calls.append(ComparedCall(event, tuple(parts), key))
        for name, value in event.outputs:
            if (token := _token(name, value)) is not None:
                given[token] = Origin(position, event.service, name, event.index)
    return calls


def _status(event: CallEvent) -> Part:
    status = None if event.status is None else event.status.efi_name
    return Part("status", "", status, status)


def _part(kind: str, name: str, value: Value, given: dict[tuple[bool, int], Origin]) -> Part:
    token = _token(name, value)
    origin = given.get(token) if token is not None else None
    if origin is not None:
        return Part(kind, name, value, ("given", origin.service, origin.output), origin)
    return Part(kind, name, value, _key(name, value))


def _token(name: str, value: Value) -> tuple[bool, int] | None:
    """Return what identifies a value that calls give out and take: an address, or a key of the memory map."""
    if isinstance(value, Address):
        return (False, int(value)) if value else None
    return (True, value) if name == _MAP_KEY and isinstance(value, int) else None


def _key(name: str, value: Value) -> Hashable:
    match value:
        case Address():
            return _SOME_ADDRESS if value else _NULL
        case None:
            return _NULL
        case str() | bytes() | Guid():
            return (type(value).__name__, value)
        case _ if name == _MAP_KEY:
            return _SOME_MAP_KEY
        case _:
            return ("number", int(value))
