# SPDX-License-Identifier: GPL-2.0-or-later
"""A store that fails when it is told to, in place of the one that a guest has."""

from __future__ import annotations

from collections.abc import Iterator

from pvefi.efi.kept import Kept
from pvefi.efi.varstore.store import Capacity, StoreError, StoreFault, Variable, VariableStore
from pvefi.layout import Guid


class FailingStore:
    """A VariableStore before the one of `kept`; `changes` counts what it was asked to write."""

    def __init__(self, kept: Kept) -> None:
        self._store: VariableStore = kept.variables
        self._fault: StoreFault | None = None
        self._works = 0
        self._times = 0
        self.changes = 0
        kept.variables = self

    def fail(self, fault: StoreFault, *, after: int = 0, times: int = 1 << 30) -> None:
        """Let `after` more changes work, and then so many fail."""
        self._fault, self._works, self._times = fault, after, times

    def _change(self) -> None:
        self.changes += 1
        if self._fault is None:
            return
        if self._works:
            self._works -= 1
        elif self._times:
            self._times -= 1
            raise StoreError(self._fault, "the store fails")

    @property
    def keeps_timestamps(self) -> bool:
        return self._store.keeps_timestamps

    def get(self, name: str, vendor: Guid) -> Variable | None:
        return self._store.get(name, vendor)

    def put(self, variable: Variable) -> None:
        self._change()
        self._store.put(variable)

    def remove(self, name: str, vendor: Guid) -> None:
        self._change()
        self._store.remove(name, vendor)

    def capacity(self) -> Capacity:
        return self._store.capacity()

    def __iter__(self) -> Iterator[Variable]:
        return iter(self._store)
