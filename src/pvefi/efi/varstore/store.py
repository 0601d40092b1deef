# SPDX-License-Identifier: GPL-2.0-or-later
"""What a variable is to a store, and what every store can do.

A store has no policy: attributes, limits and visibility are the business of `efi/runtime/variables.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from pvefi.layout import Guid
from pvefi.spec.uefi.variables import VariableAttribute

__all__ = ["Variable", "VariableStore"]


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable; a name may hold any 16-bit characters but NUL, lone surrogates too."""

    name: str
    vendor: Guid
    attributes: VariableAttribute
    data: bytes


class VariableStore(Protocol):
    """Variables by name and vendor GUID, in an order that stays while none is added or removed."""

    def get(self, name: str, vendor: Guid) -> Variable | None:
        """Return the variable, None when there is none."""
        ...

    def put(self, variable: Variable) -> None:
        """Store `variable`, in place of one of the same name and vendor."""
        ...

    def remove(self, name: str, vendor: Guid) -> None:
        """Forget the variable; KeyError when there is none."""
        ...

    def __iter__(self) -> Iterator[Variable]:
        """Yield every variable in the store's order."""
        ...
