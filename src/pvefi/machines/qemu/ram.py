# SPDX-License-Identifier: GPL-2.0-or-later
"""Where QEMU shows the guest its RAM file."""

from __future__ import annotations

from collections.abc import Iterable

from pvefi.errors import GuestFault
from pvefi.memory import RamBlock
from pvefi.spec.xen.start_info import HvmMemmapTableEntry, MemmapType

__all__ = ["ram_blocks"]

_FOUR_GIB = 4 << 30


def ram_blocks(ram: memoryview, memory_map: Iterable[HvmMemmapTableEntry]) -> list[RamBlock]:
    """Return where QEMU has put the RAM file: its end lies above 4 GiB as far as the guest's map says so."""
    high = sum(
        entry.addr + entry.size - max(entry.addr, _FOUR_GIB)
        for entry in memory_map
        if entry.type == MemmapType.RAM and entry.addr + entry.size > _FOUR_GIB
    )
    if high > len(ram):
        raise GuestFault(f"the guest's memory map has {high:#x} bytes above 4 GiB, its RAM {len(ram):#x}")
    split = len(ram) - high
    blocks = [RamBlock(0, ram[:split])]
    return [*blocks, RamBlock(_FOUR_GIB, ram[split:])] if high else blocks
