# SPDX-License-Identifier: GPL-2.0-or-later
"""Files that xl reads, and nobody else."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pvefi.errors import UsageError

__all__ = ["private_file"]


@contextlib.contextmanager
def private_file(data: bytes, suffix: str = "") -> Iterator[Path]:
    """Give a file with these contents that nobody else may read, as long as the block lasts."""
    with tempfile.NamedTemporaryFile(prefix="pvefi-", suffix=suffix) as file:
        try:
            file.write(data)
            file.flush()
        except OSError as error:
            raise UsageError(
                f"{file.name}: {error.strerror}", "give TMPDIR a folder with more room"
            ) from error
        yield Path(file.name)
