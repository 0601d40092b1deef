# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads what the machine told the trampoline: hvm_start_info and everything it points to.

All of it is copied out at the first doorbell, so that the memory it lay in is free for the guest.
"""

from __future__ import annotations

from dataclasses import dataclass

from pvefi.errors import GuestFault
from pvefi.memory import Memory
from pvefi.spec.xen.start_info import HvmMemmapTableEntry, HvmModlistEntry, HvmStartInfo

__all__ = ["Start", "read_start"]

_TEXT_LIMIT = 1 << 16  # bytes of a command line; Linux x86 itself stops at 2048
_ENTRY_LIMIT = 4096  # memory map entries and modules; e820 has 128 slots


@dataclass(frozen=True)
class Start:
    """hvm_start_info and what it points to, copied; `modules` are ranges of guest physical memory."""

    info: HvmStartInfo
    memory_map: tuple[HvmMemmapTableEntry, ...]
    modules: tuple[HvmModlistEntry, ...]
    command_line: str


def read_start(memory: Memory, address: int) -> Start:
    """Return what stands at guest physical `address`; GuestFault unless it is hvm_start_info with a map."""
    try:
        info = HvmStartInfo.read(memory.read(address, HvmStartInfo.SIZE))
    except ValueError as error:
        raise GuestFault(f"guest physical {address:#x}: {error}") from error
    if not info.memmap_entries:
        raise GuestFault(
            f"hvm_start_info version {info.version} at {address:#x} has no memory map",
            "the machine has to give version 1 with memmap entries",
        )
    for count, what in ((info.memmap_entries, "memory map entries"), (info.nr_modules, "modules")):
        if count > _ENTRY_LIMIT:
            raise GuestFault(f"hvm_start_info at {address:#x} claims {count} {what}")
    memmap = memory.read(info.memmap_paddr, info.memmap_entries * HvmMemmapTableEntry.SIZE)
    modlist = b""
    if info.nr_modules:
        modlist = memory.read(info.modlist_paddr, info.nr_modules * HvmModlistEntry.SIZE)
    return Start(
        info,
        tuple(
            HvmMemmapTableEntry.unpack(memmap, at * HvmMemmapTableEntry.SIZE)
            for at in range(info.memmap_entries)
        ),
        tuple(HvmModlistEntry.unpack(modlist, at * HvmModlistEntry.SIZE) for at in range(info.nr_modules)),
        _text(memory, info.cmdline_paddr) if info.cmdline_paddr else "",
    )


def _text(memory: Memory, address: int) -> str:
    data = memory.read(address, min(memory.contiguous(address), _TEXT_LIMIT))
    end = data.find(b"\0")
    if end < 0:
        raise GuestFault(f"the command line at {address:#x} does not end within {len(data)} bytes")
    return data[:end].decode("utf-8", "replace")
