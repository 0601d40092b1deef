# SPDX-License-Identifier: GPL-2.0-or-later
"""Frozen dataclasses as JSON and back, each field checked against its annotation.

For values that one process leaves for another. Numbers, text, truth values, None, tuples, sets, enumerations
by value, bytes in hexadecimal, and GUIDs as text; what is missing, too much or of another type is a
ValueError.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from pvefi.layout import Guid

__all__ = ["from_json", "to_json"]

T = TypeVar("T")


def to_json(value: object) -> Any:
    """Return `value` as what json.dumps() takes; TypeError for what has no place in JSON."""
    if is_dataclass(value) and not isinstance(value, type) and not isinstance(value, Guid):
        return {field.name: to_json(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Guid):
        return str(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple):
        return [to_json(one) for one in value]
    if isinstance(value, frozenset):
        return sorted(to_json(one) for one in value)
    if isinstance(value, bytes):
        return value.hex()
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return int(value)
    raise TypeError(f"{value!r} has no place in JSON")


def from_json(kind: type[T], data: object, where: str = "") -> T:
    """Return the dataclass `kind` that `data` tells; ValueError says where it does not."""
    made: T = _made(kind, data, where or kind.__name__)
    return made


def _made(kind: Any, data: object, where: str) -> Any:
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        return _either(get_args(kind), data, where)
    if origin is tuple:
        return _tuple(get_args(kind), data, where)
    if origin is frozenset:
        return frozenset(_tuple((*get_args(kind), ...), data, where))
    if is_dataclass(kind) and kind is not Guid and isinstance(kind, type):
        return _fields(kind, data, where)
    try:
        if kind is Guid and isinstance(data, str):
            return Guid.parse(data)
        if kind is bytes and isinstance(data, str):
            return bytes.fromhex(data)
        if isinstance(kind, type) and issubclass(kind, Enum) and isinstance(data, int | str):
            return kind(data)
    except ValueError as error:
        raise _unfit(kind, data, where) from error
    if kind is int and isinstance(data, int) and not isinstance(data, bool):
        return data
    if kind in (str, bool) and isinstance(data, kind):
        return data
    raise _unfit(kind, data, where)


def _fields(kind: Any, data: object, where: str) -> Any:
    if not isinstance(data, Mapping):
        raise _unfit(kind, data, where)
    hints = get_type_hints(kind)
    names = [field.name for field in fields(kind)]
    if set(names) != set(data):
        odd = ", ".join(sorted(map(str, set(names) ^ set(data))))
        raise ValueError(f"{where}: expected the fields {', '.join(names)}, found others: {odd}")
    return kind(**{name: _made(hints[name], data[name], f"{where}.{name}") for name in names})


def _tuple(kinds: tuple[Any, ...], data: object, where: str) -> Any:
    if not isinstance(data, list):
        raise _unfit(tuple, data, where)
    if len(kinds) == 2 and kinds[1] is ...:
        return tuple(_made(kinds[0], one, f"{where}[{at}]") for at, one in enumerate(data))
    if len(kinds) != len(data):
        raise ValueError(f"{where}: expected {len(kinds)} values, found {len(data)}")
    return tuple(
        _made(kind, one, f"{where}[{at}]") for at, (kind, one) in enumerate(zip(kinds, data, strict=True))
    )


def _either(kinds: tuple[Any, ...], data: object, where: str) -> Any:
    if data is None and NoneType in kinds:
        return None
    (kind,) = [one for one in kinds if one is not NoneType]
    return _made(kind, data, where)


def _unfit(kind: Any, data: object, where: str) -> ValueError:
    return ValueError(f"{where}: expected {getattr(kind, '__name__', kind)}, found {data!r:.60}")
