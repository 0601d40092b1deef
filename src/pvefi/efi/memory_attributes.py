# SPDX-License-Identifier: GPL-2.0-or-later
"""Keeps EFI_MEMORY_ATTRIBUTES_TABLE true: how runtime memory may be mapped — UEFI 2.10 §4.6.4.

Operating systems read the table after boot services, and Linux anew in each kernel that kexec starts. So it
stands in runtime memory, which nobody reuses, where edk2 has it in boot services memory.
"""

from __future__ import annotations

from pvefi.efi.arena import Arena
from pvefi.efi.pages import DESCRIPTOR_SIZE, RUNTIME_TYPES, PageMap
from pvefi.efi.tables import SystemTables
from pvefi.memory import GuestMemory
from pvefi.spec.uefi import guids
from pvefi.spec.uefi.memory import PAGE_SIZE, MemoryAttribute, MemoryDescriptor, MemoryType
from pvefi.spec.uefi.tables import MEMORY_ATTRIBUTES_TABLE_VERSION, MemoryAttributesTable

__all__ = ["MemoryAttributes"]

_ROOM = 128  # entries; a guest that makes more pieces of runtime memory goes without the table


class MemoryAttributes:
    """The table of one boot, of all runtime memory in `pages`; `code` is the holder of pvefi's own code."""

    def __init__(
        self, memory: GuestMemory, arena: Arena, tables: SystemTables, pages: PageMap, code: str
    ) -> None:
        self._memory = memory
        self._tables = tables
        self._pages = pages
        self._code = code
        size = MemoryAttributesTable.SIZE + _ROOM * DESCRIPTOR_SIZE
        self._address = arena.reserve("EFI_MEMORY_ATTRIBUTES_TABLE", size)
        self._entries: list[MemoryDescriptor] = []
        self._key = -1
        self.renew()

    def renew(self) -> None:
        """Make the table say what the memory map says now."""
        if self._key == self._pages.key:
            return
        self._key = self._pages.key
        entries = self._made()
        if entries == self._entries:
            return
        self._entries = entries
        # A table that does not cover all runtime memory would be a wrong one.
        fits = len(entries) <= _ROOM
        if fits:
            header = MemoryAttributesTable(
                MEMORY_ATTRIBUTES_TABLE_VERSION, len(entries), DESCRIPTOR_SIZE, 0
            ).pack()
            padding = bytes(DESCRIPTOR_SIZE - MemoryDescriptor.SIZE)
            body = b"".join(entry.pack() + padding for entry in entries)
            self._memory.write(self._address, header + body)
        is_there = any(guid == guids.MEMORY_ATTRIBUTES_TABLE for guid, _ in self._tables.configuration_tables)
        if fits or is_there:
            self._tables.install_configuration_table(
                guids.MEMORY_ATTRIBUTES_TABLE, self._address if fits else 0
            )

    def _made(self) -> list[MemoryDescriptor]:
        entries: list[MemoryDescriptor] = []
        for span in self._pages.spans:
            if span.type not in RUNTIME_TYPES:
                continue
            attribute = int(MemoryAttribute.RUNTIME)
            if span.type == MemoryType.RUNTIME_SERVICES_DATA:
                attribute |= MemoryAttribute.XP
            elif span.name == self._code:
                attribute |= MemoryAttribute.RO
            # What else is code a guest has put there, with its data maybe: nothing can be said of that.
            start, pages = span.start, span.pages
            if entries:
                last = entries[-1]
                end = last.physical_start + last.number_of_pages * PAGE_SIZE
                if (end, last.type, last.attribute) == (start, span.type, attribute):
                    start, pages = last.physical_start, last.number_of_pages + pages
                    entries.pop()
            entries.append(MemoryDescriptor(span.type, 0, start, 0, pages, attribute))
        return entries
