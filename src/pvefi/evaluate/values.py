# SPDX-License-Identifier: GPL-2.0-or-later
"""Carries values between processes that this one has forked, and makes nothing but values of what arrives.

The process that emulates a guest sends what came of it as a pickle. Should a guest have got hold of that
process, its pickle calls no function here: only pvefi's own classes of values are found by name.
"""

from __future__ import annotations

import dataclasses
import io
import pickle
from enum import Enum
from typing import TypeVar

from pvefi.errors import MachineError

__all__ = ["packed", "unpacked"]

T = TypeVar("T")

_OWN = "pvefi."


def packed(value: object) -> bytes:
    """Return `value`, made of pvefi's values, as `unpacked` takes it."""
    return pickle.dumps(value)


def unpacked(data: bytes, kind: type[T]) -> T:
    """Return the value of this kind that `data` holds; MachineError when it holds anything else."""
    try:
        value = _Values(io.BytesIO(data)).load()
    except Exception as error:  # a damaged pickle raises errors of every class
        raise MachineError(f"a boot's process told what is no result: {error}"[:300]) from error
    if not isinstance(value, kind):
        raise MachineError(f"a boot's process told a {type(value).__name__}, expected a {kind.__name__}")
    return value


class _Values(pickle.Unpickler):
    """Finds dataclasses, enumerations, and numbers and tuples with names, all of pvefi; and nothing else."""

    def find_class(self, module: str, name: str) -> type:
        if module.startswith(_OWN) and name.isidentifier():
            found = super().find_class(module, name)
            if isinstance(found, type) and found.__module__ == module and _is_value(found):
                return found
        raise pickle.UnpicklingError(f"{module}.{name} is no value of pvefi")


def _is_value(found: type) -> bool:
    return dataclasses.is_dataclass(found) or issubclass(found, Enum | int | tuple)
