# SPDX-License-Identifier: GPL-2.0-or-later
"""How fast the host's time-stamp counter runs: TCG on an x86-64 host hands it to its guests as it is."""

from __future__ import annotations

import ctypes
import mmap
import platform
import time

__all__ = ["tsc_khz"]

_SECONDS = 0.01
_TRIES = 20
_READ = bytes.fromhex("0f3148c1e2204809d0c3")  # rdtsc; shl $32, %rdx; or %rdx, %rax; ret


def tsc_khz() -> int | None:
    """Return the rate in kHz, measured in 10 ms to a few millionths.

    None where the host is no x86-64, or refuses executable memory.
    """
    if platform.machine() not in ("x86_64", "AMD64"):
        return None
    try:
        page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    except OSError:
        return None
    page[: len(_READ)] = _READ
    read = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(ctypes.c_char.from_buffer(page)))

    def sample() -> tuple[int, float]:
        """Return the counter and the nanosecond at which it was read: that of the quickest of some tries."""
        tries = []
        for _ in range(_TRIES):
            before = time.perf_counter_ns()
            count = read()
            after = time.perf_counter_ns()
            tries.append((after - before, count, (before + after) / 2))
        _, count, at = min(tries)
        return count, at

    count, at = sample()
    time.sleep(_SECONDS)
    count_later, at_later = sample()
    return round((count_later - count) * 1e6 / (at_later - at))
