# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest keeps through a reset, as real machines do by flash memory and a battery."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pvefi.efi.varstore.edk2 import Edk2Store
from pvefi.efi.varstore.medium import ReadOnlyError
from pvefi.efi.varstore.memory import MemoryStore
from pvefi.efi.varstore.store import VariableStore

__all__ = ["Kept"]


@dataclass
class Kept:
    """State of one guest that outlives each of its environments.

    `variables` holds the non-volatile ones, with what the firmware keeps for itself: `efi/own_variables.py`.
    """

    variables: VariableStore = field(default_factory=MemoryStore)

    @classmethod
    def open(cls, variables: Path | None) -> Kept:
        """Return the state of a guest whose variables are in a file, or with None of one that is new.

        A file that cannot be written is only read. UsageError and ImageError say why the file does not do.
        """
        if variables is None:
            return cls()
        try:
            return cls(Edk2Store.open(variables))
        except ReadOnlyError:
            return cls(Edk2Store.open(variables, writable=False))

    @property
    def only_read(self) -> bool:
        """Whether the guest's variables are in a file that cannot be written."""
        return isinstance(self.variables, Edk2Store) and not self.variables.writable

    def close(self) -> None:
        """Let go of the file."""
        if isinstance(self.variables, Edk2Store):
            self.variables.close()
