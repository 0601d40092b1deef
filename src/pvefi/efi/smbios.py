# SPDX-License-Identifier: GPL-2.0-or-later
"""Finds the SMBIOS tables that a BIOS left below 1 MiB — SMBIOS 3.6 §5.2."""

from __future__ import annotations

import re

from pvefi.errors import GuestFault
from pvefi.layout import Guid
from pvefi.memory import GuestMemory
from pvefi.spec.smbios import ANCHOR_ALIGNMENT, SEARCH_RANGE, EntryPoint32, EntryPoint64
from pvefi.spec.uefi import guids

__all__ = ["entry_points"]

_ANCHOR = re.compile(rb"_SM(?:3)?_")  # SMBIOS 3.6 §5.2.1, §5.2.2


def entry_points(memory: GuestMemory) -> tuple[tuple[Guid, int], ...]:
    """Return the configuration tables for SMBIOS: GUID and guest physical address of each entry point.

    There is none where the range is not RAM to the host, or where what an entry point leads to is not.
    """
    start, size = SEARCH_RANGE
    try:
        data = memory.read(start, size)
    except GuestFault:
        return ()
    found: dict[Guid, int] = {}
    for match in _ANCHOR.finditer(data):
        offset = match.start()
        if offset % ANCHOR_ALIGNMENT:
            continue
        for guid, kind in ((guids.SMBIOS3_TABLE, EntryPoint64), (guids.SMBIOS_TABLE, EntryPoint32)):
            entry = kind.read(data[offset:])
            if entry is not None and _is_ram(memory, entry.table_address, entry.table_size):
                found.setdefault(guid, start + offset)
    return tuple(sorted(found.items(), key=lambda item: item[0] != guids.SMBIOS3_TABLE))


def _is_ram(memory: GuestMemory, address: int, size: int) -> bool:
    return 0 < size <= memory.contiguous(address)
