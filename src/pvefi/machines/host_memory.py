# SPDX-License-Identifier: GPL-2.0-or-later
"""Maps what a guest's RAM is made of."""

from __future__ import annotations

import mmap
import os

from pvefi.errors import MachineError, UsageError

__all__ = ["map_ram"]


def map_ram(descriptor: int, size: int) -> memoryview:
    """Make the memory file behind `descriptor` `size` bytes large; return a shared, writable mapping of it.

    UsageError when that is more than the host has, MachineError when the host does not give it.
    """
    available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size > available:
        raise UsageError(
            f"expected at most the host's {available >> 20} MiB of memory, found {size >> 20} MiB",
            "give a smaller --memory",
        )
    try:
        os.ftruncate(descriptor, size)
        return memoryview(mmap.mmap(descriptor, size))
    except OSError as error:
        raise MachineError(
            f"the host gives no {size >> 20} MiB of memory: {error.strerror}", "give a smaller --memory"
        ) from error
