# SPDX-License-Identifier: GPL-2.0-or-later
"""One file an entry: what state it demands, and what it writes."""

from collections.abc import Mapping
from types import MappingProxyType

from pvefi.entries import efi, efi_handover, kexec, linux32, linux64, pvh
from pvefi.entries.entry import BootInfo, Entry, EntryRequest

__all__ = ["ENTRIES", "BootInfo", "Entry", "EntryRequest"]

ENTRIES: Mapping[str, Entry] = MappingProxyType(
    {
        entry.kind.value: entry
        for entry in (efi.ENTRY, efi_handover.ENTRY, linux64.ENTRY, kexec.ENTRY, linux32.ENTRY, pvh.ENTRY)
    }
)
"""Every entry that can be run, by the name that `--entry` takes, in the order of `--entry all`."""
