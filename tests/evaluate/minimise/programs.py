# SPDX-License-Identifier: GPL-2.0-or-later
"""Small programs of which it is known what they need."""

from __future__ import annotations

from pvefi.spec.uefi.memory import AllocateType, MemoryType
from pvefi.spec.uefi.status import EfiStatus
from tests.test_boot import BEGIN, END, SCRATCH, call, load, program

POOL = call("AllocatePool", MemoryType.LOADER_DATA, 64, SCRATCH)
PAGES = call("AllocatePages", AllocateType.ANY_PAGES, MemoryType.LOADER_DATA, 1, SCRATCH)
WATCHDOG = call("SetWatchdogTimer", 0, 0, 0, 0)
STALL = call("Stall", 0)
_KEEP = b"\x48\x89\x44\x24\x38"  # mov %rax, 0x38(%rsp)
_EITHER = b"\x48\x23\x44\x24\x38"  # and 0x38(%rsp), %rax: of two errors no 0
_BOTH = b"\x48\x0b\x44\x24\x38"  # or 0x38(%rsp), %rax


def _unless_good(code: bytes) -> bytes:
    return b"\x48\x85\xc0\x74" + bytes([len(code)]) + code  # test %rax, %rax; je


def _unless(status: EfiStatus, code: bytes) -> bytes:
    """Return code that executes `code` unless the call before it has answered with `status`."""
    return load(1, status) + b"\x48\x39\xc8\x74" + bytes([len(code)]) + code  # cmp %rcx, %rax; je


FALLS_BACK = program(BEGIN + POOL + _unless_good(PAGES) + END)
"""Takes pages where there is no pool."""
EITHER = program(BEGIN + STALL + POOL + _KEEP + PAGES + _EITHER + END)
"""Calls both, and needs one of the two."""
BOTH = program(BEGIN + STALL + POOL + _KEEP + PAGES + _BOTH + END)
PARTICULAR = program(BEGIN + WATCHDOG + _unless_good(_unless(EfiStatus.NOT_FOUND, END)) + load(0, 0) + END)
"""Does without a watchdog that is not found, and not without one that is not supported."""
FAILS = program(BEGIN + load(0, EfiStatus.ABORTED) + END)
