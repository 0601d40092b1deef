# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads the files that a user names, with a clear line for each way in which that fails."""

from __future__ import annotations

import mmap
from pathlib import Path

from pvefi.errors import UsageError

__all__ = ["read_file"]


def read_file(path: Path, what: str) -> memoryview:
    """Return the bytes of `path`, mapped rather than copied; UsageError says why it cannot be read.

    `what` names the file's role, such as "an initial ramdisk". An empty file is an empty view.
    """
    try:
        with path.open("rb") as file:
            if not path.stat().st_size:
                return memoryview(b"")
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"{path}: expected {what}, found: {reason}") from error
