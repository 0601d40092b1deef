# SPDX-License-Identifier: GPL-2.0-or-later
"""A store that fails when it is told to, in place of the one that a guest has."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pvefi.efi.kept import Kept
from pvefi.efi.varstore.store import Capacity, StoreError, StoreFault, Variable, VariableStore
from pvefi.layout import Guid


class FailingStore:
    """A VariableStore before the one of `kept`; `changes` and `walks` count what it has to do."""

    def __init__(self, kept: Kept) -> None:
        self._store: VariableStore = kept.variables
        self.keeps_timestamps = self._store.keeps_timestamps
        self._fault: StoreFault | None = None
        self._works = 0
        self._times = 0
        self._done = False
        self.walks = 0
        self.changes = 0
        kept.variables = self

    def fail(self, fault: StoreFault, *, after: int = 0, times: int = 1 << 30, done: bool = False) -> None:
        """Let `after` more changes work, and then so many fail: before they are made, or when `done`."""
        self._fault, self._works, self._times, self._done = fault, after, times, done

    def _change(self, make: Callable[[], None]) -> None:
        self.changes += 1
        if self._fault is None or self._works or not self._times:
            self._works = max(0, self._works - 1)
            make()
            return
        self._times -= 1
        if self._done:
            make()
        raise StoreError(self._fault, "the store fails")

    def get(self, name: str, vendor: Guid) -> Variable | None:
        return self._store.get(name, vendor)

    def put(self, variable: Variable) -> None:
        self._change(lambda: self._store.put(variable))

    def remove(self, name: str, vendor: Guid) -> None:
        self._change(lambda: self._store.remove(name, vendor))

    def capacity(self) -> Capacity:
        return self._store.capacity()

    def __iter__(self) -> Iterator[Variable]:
        self.walks += 1
        return iter(self._store)
