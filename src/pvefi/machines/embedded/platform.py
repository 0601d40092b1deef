# SPDX-License-Identifier: GPL-2.0-or-later
"""What the embedded machine looks like to a guest: where RAM is, and the hvm_start_info that says so."""

from __future__ import annotations

from dataclasses import dataclass

from pvefi.errors import UsageError
from pvefi.spec.xen.start_info import XEN_HVM_START_MAGIC_VALUE, HvmMemmapTableEntry, HvmStartInfo, MemmapType

__all__ = ["RamLayout", "ram_layout", "start_info"]

_LOW_RAM_END = 0xA0000  # the PC's conventional memory
_EXTENDED_START = 0x100000
_PCI_HOLE_START = 3 << 30
_HIGH_RAM_START = 4 << 30
_MINIMUM = 16 << 20
_START_INFO = 0x6000  # guest physical; in conventional memory, clear of the real-mode tables in page 0


@dataclass(frozen=True)
class RamLayout:
    """RAM as (guest physical address, size in bytes, offset in the backing file)."""

    blocks: tuple[tuple[int, int, int], ...]

    def memory_map(self) -> tuple[HvmMemmapTableEntry, ...]:
        """Return what hvm_start_info tells of it: the legacy hole below 1 MiB is reserved."""
        entries = [
            HvmMemmapTableEntry(addr=0, size=_LOW_RAM_END, type=MemmapType.RAM),
            HvmMemmapTableEntry(
                addr=_LOW_RAM_END,
                size=_EXTENDED_START - _LOW_RAM_END,
                type=MemmapType.RESERVED,
            ),
        ]
        for address, size, _ in self.blocks:
            start = max(address, _EXTENDED_START)
            entries.append(HvmMemmapTableEntry(addr=start, size=address + size - start, type=MemmapType.RAM))
        return tuple(entries)


def ram_layout(memory_size: int) -> RamLayout:
    """Return where `memory_size` bytes of RAM go: up to 3 GiB below the PCI hole, the rest from 4 GiB.

    UsageError when it is less than the machine can start with or no whole number of pages.
    """
    if memory_size < _MINIMUM:
        raise UsageError(
            f"expected at least {_MINIMUM >> 20} MiB of memory, found {memory_size:#x} bytes",
            f"give --memory {_MINIMUM >> 20}M or more",
        )
    if memory_size % 4096:
        raise UsageError(
            f"expected memory in whole pages of 4 KiB, found {memory_size:#x} bytes", "round --memory"
        )
    low = min(memory_size, _PCI_HOLE_START)
    blocks = [(0, low, 0)]
    if memory_size > low:
        blocks.append((_HIGH_RAM_START, memory_size - low, low))
    return RamLayout(tuple(blocks))


def start_info(layout: RamLayout, command_line: str) -> tuple[int, bytes]:
    """Return hvm_start_info's guest physical address and the bytes of it, its memory map and command line."""
    memory_map = layout.memory_map()
    memmap_address = _START_INFO + HvmStartInfo.SIZE
    cmdline_address = memmap_address + len(memory_map) * HvmMemmapTableEntry.SIZE
    text = command_line.encode() + b"\0"
    if cmdline_address + len(text) > _LOW_RAM_END:
        raise UsageError(f"expected a command line of less than 600 KiB, found {len(text)} bytes")
    info = HvmStartInfo(
        magic=XEN_HVM_START_MAGIC_VALUE,
        version=1,
        flags=0,
        nr_modules=0,
        modlist_paddr=0,
        rsdp_paddr=0,
        cmdline_paddr=cmdline_address if command_line else 0,
        memmap_paddr=memmap_address,
        memmap_entries=len(memory_map),
    )
    return _START_INFO, info.pack() + b"".join(entry.pack() for entry in memory_map) + text
