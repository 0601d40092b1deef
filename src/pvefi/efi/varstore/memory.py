# SPDX-License-Identifier: GPL-2.0-or-later
"""A store in the host's memory: it lasts as long as whoever made it."""

from __future__ import annotations

from collections.abc import Iterator

from pvefi.efi.varstore.store import Variable
from pvefi.layout import Guid

__all__ = ["MemoryStore"]


class MemoryStore:
    """A VariableStore in the order of first arrival."""

    def __init__(self) -> None:
        self._variables: dict[tuple[str, Guid], Variable] = {}

    def get(self, name: str, vendor: Guid) -> Variable | None:
        """Return the variable, None when there is none."""
        return self._variables.get((name, vendor))

    def put(self, variable: Variable) -> None:
        """Store `variable`, in place of one of the same name and vendor."""
        self._variables[variable.name, variable.vendor] = variable

    def remove(self, name: str, vendor: Guid) -> None:
        """Forget the variable; KeyError when there is none."""
        del self._variables[name, vendor]

    def __iter__(self) -> Iterator[Variable]:
        """Yield every variable in the order of first arrival."""
        return iter(tuple(self._variables.values()))
