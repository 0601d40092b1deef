# SPDX-License-Identifier: GPL-2.0-or-later
"""Maps memory above 4 GiB one to one, as UEFI 2.10 §2.3.4 wants all memory while boot services last.

The trampoline's own page tables cover the first 4 GiB. Entries that were not present are in no CPU's
translation cache, so the guest need not flush anything.
"""

from __future__ import annotations

import struct

from pvefi.efi.environment import Environment
from pvefi.efi.errors import EfiError
from pvefi.errors import GuestFault
from pvefi.spec.paging import ENTRIES, FRAME, PAGE_SIZE_BIT, PRESENT, WRITABLE
from pvefi.spec.uefi.memory import PAGE_SIZE, AllocateType, MemoryType
from pvefi.spec.xen.start_info import MemmapType

__all__ = ["map_high_memory"]

_PRESENT_WRITE = PRESENT | WRITABLE
_TWO_MIB, _ONE_GIB, _FOUR_GIB, _HALF_TIB = 1 << 21, 1 << 30, 1 << 32, 1 << 39


def map_high_memory(efi: Environment) -> None:
    """Enter every gigabyte above 4 GiB that holds RAM; GuestFault when page tables find no room."""
    gigabytes = sorted(
        {
            gigabyte
            for entry in efi.start.memory_map
            if entry.type == MemmapType.RAM and entry.size
            for gigabyte in range(
                max(entry.addr, _FOUR_GIB) // _ONE_GIB, -(-(entry.addr + entry.size) // _ONE_GIB)
            )
        }
    )
    root = efi.trampoline.symbols["page_map_level4"]
    for gigabyte in gigabytes:
        address = gigabyte * _ONE_GIB
        pointers = _next_level(efi, root + 8 * (address // _HALF_TIB))
        directory = _table(efi)
        pages = (address + at * _TWO_MIB | _PRESENT_WRITE | PAGE_SIZE_BIT for at in range(ENTRIES))
        efi.physical.write(directory, struct.pack(f"<{ENTRIES}Q", *pages))
        slot = pointers + 8 * (gigabyte % ENTRIES)
        efi.physical.write(slot, struct.pack("<Q", directory | _PRESENT_WRITE))


def _next_level(efi: Environment, slot: int) -> int:
    (entry,) = struct.unpack("<Q", efi.physical.read(slot, 8))
    if entry & PRESENT:
        return int(entry & FRAME)
    table = _table(efi)
    efi.physical.write(slot, struct.pack("<Q", table | _PRESENT_WRITE))
    return table


def _table(efi: Environment) -> int:
    try:
        address = efi.pages.allocate(
            AllocateType.MAX_ADDRESS, MemoryType.BOOT_SERVICES_DATA, 1, _FOUR_GIB - 1, name="page tables"
        )
    except EfiError as error:
        raise GuestFault(f"no memory for page tables: {error.why}", "give the guest more memory") from error
    efi.physical.fill(address, PAGE_SIZE)
    return address
