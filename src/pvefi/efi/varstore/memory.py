# SPDX-License-Identifier: GPL-2.0-or-later
"""A store in the host's memory: it lasts as long as whoever made it."""

from __future__ import annotations

from collections.abc import Iterator

from pvefi.efi.varstore.store import Capacity, StoreError, StoreFault, Variable, name_size
from pvefi.layout import Guid

__all__ = ["MAXIMUM_VARIABLE_SIZE", "STORAGE_SIZE", "MemoryStore"]

STORAGE_SIZE = 256 << 10
"""Bytes for all variables of a store."""
MAXIMUM_VARIABLE_SIZE = 64 << 10
"""Bytes of one variable's name, with its NUL, and data together."""
_BOOKKEEPING = 64  # bytes that each variable takes besides: so that a guest cannot make very many


class MemoryStore:
    """A VariableStore in the order in which its variables were first put."""

    keeps_timestamps = True

    def __init__(self) -> None:
        self._variables: dict[tuple[str, Guid], Variable] = {}
        self._taken = 0

    def get(self, name: str, vendor: Guid) -> Variable | None:
        """Return the variable, None when there is none."""
        return self._variables.get((name, vendor))

    def put(self, variable: Variable) -> None:
        """Store `variable`, in place of one of the same name and vendor; StoreError when there is no room."""
        key = variable.name, variable.vendor
        old = self._variables.get(key)
        taken = self._taken + _size(variable) - (_size(old) if old is not None else 0)
        if taken > STORAGE_SIZE:
            raise StoreError(StoreFault.FULL, f"{taken - STORAGE_SIZE} bytes more than there is room for")
        self._variables[key] = variable
        self._taken = taken

    def remove(self, name: str, vendor: Guid) -> None:
        """Forget the variable; KeyError when there is none."""
        self._taken -= _size(self._variables.pop((name, vendor)))

    def capacity(self) -> Capacity:
        """Return what there is room for."""
        remaining = STORAGE_SIZE - self._taken
        return Capacity(STORAGE_SIZE, remaining, _BOOKKEEPING, MAXIMUM_VARIABLE_SIZE, MAXIMUM_VARIABLE_SIZE)

    def __iter__(self) -> Iterator[Variable]:
        """Yield every variable in the store's order."""
        return iter(tuple(self._variables.values()))


def _size(variable: Variable) -> int:
    return _BOOKKEEPING + name_size(variable.name) + len(variable.data)
