# SPDX-License-Identifier: GPL-2.0-or-later
"""How both reports of `inspect` spell flags and enumerations."""

from __future__ import annotations

from enum import IntFlag

from pvefi.layout import OpenEnum
from pvefi.spec.pe import SectionCharacteristic

__all__ = ["enum_name", "flag_names", "section_flags"]


def flag_names(flags: IntFlag) -> list[str]:
    """Return the names of the bits that are set; bits without a name as one last hexadecimal number."""
    members = [member for member in type(flags) if member in flags]
    rest = flags.value & ~sum(member.value for member in members)
    names = [member.name or f"{member.value:#x}" for member in members]
    return [*names, f"{rest:#x}"] if rest else names


def enum_name(value: OpenEnum) -> str:
    """Return the name of an enumeration's value, or the value in hexadecimal when it has none."""
    return value.name if value.known else f"{int(value):#x}"


def section_flags(flags: SectionCharacteristic) -> list[str]:
    """Return the names of a section's flags, its alignment as a number among them."""
    alignment = flags & SectionCharacteristic.ALIGN_MASK
    names = flag_names(flags & ~SectionCharacteristic.ALIGN_MASK)
    return [*names, f"ALIGN_{1 << ((alignment >> 20) - 1)}"] if alignment else names
