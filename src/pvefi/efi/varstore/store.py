# SPDX-License-Identifier: GPL-2.0-or-later
"""What a variable is to a store, and what every store can do.

A store has no policy: attributes, limits and visibility are the business of `efi/runtime/variables.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from pvefi.errors import PvefiError
from pvefi.layout import Guid
from pvefi.spec.uefi.variables import AUTHENTICATED, VariableAttribute

__all__ = ["NO_TIME", "Capacity", "StoreError", "StoreFault", "Variable", "VariableStore", "name_size"]

NO_TIME = bytes(16)
"""The EFI_TIME of a variable that nobody signed."""


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable; a name may hold any 16-bit characters but NUL, lone surrogates too.

    `timestamp` is the EFI_TIME of its last authenticated write.
    """

    name: str
    vendor: Guid
    attributes: VariableAttribute
    data: bytes
    timestamp: bytes = NO_TIME


def name_size(name: str) -> int:
    """Return the size of a name in a guest's memory and in a store, in bytes with its NUL."""
    return len(name.encode("utf-16-le", "surrogatepass")) + 2


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a store has room for, in bytes.

    `size` is for all variables; `remaining` of it is free, or free as soon as it is needed. Each variable
    takes `overhead` besides its name and data, and both together are never more than `largest`, or for an
    authenticated variable `largest_authenticated`. What one takes is a multiple of `alignment`.
    """

    size: int
    remaining: int
    overhead: int
    largest: int
    largest_authenticated: int
    alignment: int = 1

    def taken_by(self, variable: Variable) -> int:
        """Return how much of the room a variable takes."""
        exactly = self.overhead + name_size(variable.name) + len(variable.data)
        return -(-exactly // self.alignment) * self.alignment

    def largest_with(self, attributes: int) -> int:
        """Return how large name and data of a variable with these attributes may be."""
        return self.largest_authenticated if attributes & AUTHENTICATED else self.largest

    def room_for_one(self, attributes: int) -> int:
        """Return how large name and data of one more variable with these attributes may be."""
        return min(self.largest_with(attributes), max(0, self.remaining - self.overhead))


class StoreFault(Enum):
    """Why a store did not do what it was asked to."""

    FULL = "full"
    READ_ONLY = "read-only"
    DEVICE = "device"


class StoreError(PvefiError):
    """A variable that could not be stored or removed; the store holds it as it was before, or as asked."""

    def __init__(self, fault: StoreFault, message: str, way_out: str = "") -> None:
        super().__init__(message, way_out)
        self.fault = fault


class VariableStore(Protocol):
    """Variables by name and vendor GUID, in an order that stays while none is added or removed."""

    @property
    def keeps_timestamps(self) -> bool:
        """Whether a variable's timestamp is stored with it."""
        ...

    def get(self, name: str, vendor: Guid) -> Variable | None:
        """Return the variable, None when there is none."""
        ...

    def put(self, variable: Variable) -> None:
        """Store `variable`, in place of one of the same name and vendor; StoreError when that fails."""
        ...

    def remove(self, name: str, vendor: Guid) -> None:
        """Forget the variable; KeyError when there is none, StoreError when that fails."""
        ...

    def capacity(self) -> Capacity:
        """Return what there is room for."""
        ...

    def __iter__(self) -> Iterator[Variable]:
        """Yield every variable in the store's order."""
        ...
