# SPDX-License-Identifier: GPL-2.0-or-later
"""What pvefi raises on the host side; each message says what was expected, what was found, and the way out.

Only `cli/` turns these into exit statuses; a Python exception of any other class is a bug of pvefi.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["GuestFault", "ImageError", "MachineError", "PvefiError", "UsageError"]


class PvefiError(Exception):
    """The base of every error that a user can cause or cure; `way_out` says how, in a few words."""

    def __init__(self, message: str, way_out: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.way_out = way_out

    def __str__(self) -> str:
        return f"{self.message} ({self.way_out})" if self.way_out else self.message


class UsageError(PvefiError):
    """Options that contradict each other or the image; a file that cannot be read."""


class ImageError(PvefiError):
    """A file that is not what it says it is.

    `offset` is a file offset in bytes, or None where no single place is at fault.
    """

    def __init__(
        self, path: Path | str, offset: int | None, expected: str, found: str, way_out: str = ""
    ) -> None:
        where = f"{path}" if offset is None else f"{path}: offset {offset:#x}"
        super().__init__(f"{where}: expected {expected}, found {found}", way_out)
        self.path = str(path)
        self.offset = offset
        self.expected = expected
        self.found = found


class MachineError(PvefiError):
    """A machine that is missing, or that failed for reasons outside the guest."""


class GuestFault(PvefiError):
    """The guest gave an address that is not its memory, or a request that makes no sense."""
