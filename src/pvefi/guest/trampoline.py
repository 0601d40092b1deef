# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads the trampoline's ELF: its segments, where its parts stand, and where its gates are."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.resources import files

__all__ = ["Trampoline", "TrampolineSegment", "load_trampoline"]


@dataclass(frozen=True)
class TrampolineSegment:
    """One loadable part; `address` is guest physical, `size` in bytes with the zero-filled tail.

    `data` stands at `file_offset` in the ELF file.
    """

    name: str
    address: int
    size: int
    data: bytes
    file_offset: int

    @property
    def end(self) -> int:
        """The first guest physical address after the segment."""
        return self.address + self.size


@dataclass(frozen=True)
class Trampoline:
    """The guest part of pvefi; `entry` is the guest physical address of its 32-bit PVH entry."""

    elf: bytes
    entry: int
    segments: tuple[TrampolineSegment, ...]
    symbols: Mapping[str, int]

    def segment(self, name: str) -> TrampolineSegment:
        """Return the segment that holds the section `name`, such as ".gates"."""
        return next(segment for segment in self.segments if segment.name == name)

    def gate(self, index: int) -> int:
        """Return the guest physical address of gate `index`; IndexError beyond the last."""
        if not 0 <= index < self.symbols["GATE_COUNT"]:
            raise IndexError(f"gate {index}: the trampoline has {self.symbols['GATE_COUNT']}")
        return self.symbols["gates"] + index * self.symbols["GATE_SIZE"]

    @property
    def gdt_limit(self) -> int:
        """The limit of the GDT at the symbol "gdt", as LGDT takes it: its size in bytes less one."""
        return self.symbols["gdt_end"] - self.symbols["gdt"] - 1

    @property
    def mailbox(self) -> tuple[int, int]:
        """Guest physical address and size in bytes of the mailbox with all that `Mailbox` needs of it."""
        start = self.symbols["mailbox"]
        return start, self.symbols["staging_end"] - start

    @property
    def runtime_arena(self) -> tuple[int, int]:
        """First and one-past-last address of the host's arena beside the mailbox."""
        return self.symbols["runtime_arena"], self.symbols["staging"]

    def with_word(self, symbol: str, value: int) -> Trampoline:
        """Return the same trampoline with the 32-bit word at `symbol` set, in its segment and in its file."""
        address = self.symbols[symbol]
        at, part = next(
            (at, part) for at, part in enumerate(self.segments) if part.address <= address < part.end
        )
        word, offset = value.to_bytes(4, "little"), address - part.address
        data = part.data[:offset] + word + part.data[offset + 4 :]
        start = part.file_offset + offset
        return replace(
            self,
            elf=self.elf[:start] + word + self.elf[start + 4 :],
            segments=(*self.segments[:at], replace(part, data=data), *self.segments[at + 1 :]),
        )

    @property
    def boot_arena(self) -> tuple[int, int]:
        """First and one-past-last address of the host's arena that lasts as long as boot services."""
        return self.symbols["boot_arena"], self.segment(".arena").end


def load_trampoline() -> Trampoline:
    """Return the trampoline that the package carries."""
    from elftools.elf.elffile import ELFFile  # imported here: only a boot needs it
    from elftools.elf.sections import SymbolTableSection

    data = (files("pvefi.guest") / "trampoline.elf").read_bytes()
    elf = ELFFile(io.BytesIO(data))
    names = {section["sh_addr"]: section.name for section in elf.iter_sections() if section["sh_addr"]}
    segments = tuple(
        TrampolineSegment(
            names[part["p_vaddr"]], part["p_paddr"], part["p_memsz"], part.data(), part["p_offset"]
        )
        for part in elf.iter_segments("PT_LOAD")
    )
    table = elf.get_section_by_name(".symtab")
    assert isinstance(table, SymbolTableSection)
    symbols = {symbol.name: symbol["st_value"] for symbol in table.iter_symbols()}
    return Trampoline(data, elf["e_entry"], segments, symbols)
