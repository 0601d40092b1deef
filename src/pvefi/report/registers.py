# SPDX-License-Identifier: GPL-2.0-or-later
"""The CPU's registers at the hand-off, control registers with the names of their bits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntFlag
from types import MappingProxyType

from rich.text import Text

from pvefi.trace.columns import Cell, columns
from pvefi.trace.values import Json

__all__ = ["bit_names", "register_lines", "registers_to_json"]

_ACROSS = 4
_REGISTER_WIDTH = 2 + 3 + 2 + 16
_SEGMENTS = ("cs", "ds", "es", "fs", "gs", "ss")


class Cr0(IntFlag):
    """CR0 — AMD APM vol. 2 §3.1.1."""

    PE = 1 << 0
    MP = 1 << 1
    EM = 1 << 2
    TS = 1 << 3
    ET = 1 << 4
    NE = 1 << 5
    WP = 1 << 16
    AM = 1 << 18
    NW = 1 << 29
    CD = 1 << 30
    PG = 1 << 31


class Cr4(IntFlag):
    """CR4 — AMD APM vol. 2 §3.1.3, SMXE and VMXE from Intel SDM vol. 3A §2.5."""

    VME = 1 << 0
    PVI = 1 << 1
    TSD = 1 << 2
    DE = 1 << 3
    PSE = 1 << 4
    PAE = 1 << 5
    MCE = 1 << 6
    PGE = 1 << 7
    PCE = 1 << 8
    OSFXSR = 1 << 9
    OSXMMEXCPT = 1 << 10
    UMIP = 1 << 11
    LA57 = 1 << 12
    VMXE = 1 << 13
    SMXE = 1 << 14
    FSGSBASE = 1 << 16
    PCIDE = 1 << 17
    OSXSAVE = 1 << 18
    SMEP = 1 << 20
    SMAP = 1 << 21
    PKE = 1 << 22
    CET = 1 << 23


class Efer(IntFlag):
    """EFER — AMD APM vol. 2 §3.1.7."""

    SCE = 1 << 0
    LME = 1 << 8
    LMA = 1 << 10
    NXE = 1 << 11
    SVME = 1 << 12
    FFXSR = 1 << 14


class Rflags(IntFlag):
    """RFLAGS — AMD APM vol. 1 §3.1.4 and AMD APM vol. 2 §3.1.6; bit 1 is always set and has no name."""

    CF = 1 << 0
    PF = 1 << 2
    AF = 1 << 4
    ZF = 1 << 6
    SF = 1 << 7
    TF = 1 << 8
    IF = 1 << 9
    DF = 1 << 10
    OF = 1 << 11
    NT = 1 << 14
    RF = 1 << 16
    VM = 1 << 17
    AC = 1 << 18
    ID = 1 << 21


_BITS: Mapping[str, type[IntFlag]] = MappingProxyType(
    {"rflags": Rflags, "cr0": Cr0, "cr4": Cr4, "efer": Efer}
)


def bit_names(name: str, value: int) -> list[str]:
    """Return the names of the bits that are set, none for a register that does not consist of bits."""
    return [bit.name or "" for bit in _BITS.get(name, ()) if bit & value]


def register_lines(registers: Mapping[str, int], width: int | None = None) -> list[Text]:
    """Return the plain registers in columns, then those that consist of bits with the bits that are set."""
    segments = [name for name in _SEGMENTS if name in registers]
    plain = [name for name in registers if name not in _BITS and name not in segments]
    across = _ACROSS if width is None else max(1, min(_ACROSS, width // _REGISTER_WIDTH))
    lines = _across(registers, plain, 16, across) + _across(registers, segments, 4, len(segments))
    flagged: list[list[Cell]] = [
        [Text(name, "dim"), f"{registers[name]:016x}", " ".join(bit_names(name, registers[name]))]
        for name in _BITS
        if name in registers
    ]
    return lines + columns(flagged, "<<<", gap=2, indent=2, width=width)


def _across(registers: Mapping[str, int], names: Sequence[str], digits: int, across: int) -> list[Text]:
    """Return these registers side by side."""
    rows: list[list[Cell]] = []
    for at in range(0, len(names), across or 1):
        row: list[Cell] = []
        for name in names[at : at + across]:
            row += [Text(f"{name:<3}", "dim"), f"{registers[name]:0{digits}x}"]
        rows.append(row + [""] * (2 * across - len(row)))
    return columns(rows, "<<" * across, gap=2, indent=2)


def registers_to_json(registers: Mapping[str, int]) -> dict[str, Json]:
    """Return the registers as numbers."""
    return dict(registers)
