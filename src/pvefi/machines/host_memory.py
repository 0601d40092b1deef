# SPDX-License-Identifier: GPL-2.0-or-later
"""Maps what a guest's RAM is made of."""

from __future__ import annotations

import mmap
import os

from pvefi.errors import MachineError, UsageError

__all__ = ["map_private_ram", "map_ram"]


def map_ram(descriptor: int, size: int) -> memoryview:
    """Make the memory file behind `descriptor` `size` bytes large; return a shared, writable mapping of it.

    UsageError when that is more than the host has, MachineError when the host does not give it.
    """
    _check(size)
    try:
        os.ftruncate(descriptor, size)
        return memoryview(mmap.mmap(descriptor, size))
    except OSError as error:
        raise _refused(size, error) from error


def map_private_ram(size: int) -> memoryview:
    """Return `size` bytes of writable memory that is this process's own: one that it forks gets a copy.

    UsageError when that is more than the host has, MachineError when the host does not give it.
    """
    _check(size)
    try:
        return memoryview(mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
    except OSError as error:
        raise _refused(size, error) from error


def _check(size: int) -> None:
    available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size > available:
        raise UsageError(
            f"expected at most the host's {available >> 20} MiB of memory, found {size >> 20} MiB",
            "give a smaller --memory",
        )


def _refused(size: int, error: OSError) -> MachineError:
    return MachineError(
        f"the host gives no {size >> 20} MiB of memory: {error.strerror}", "give a smaller --memory"
    )
