# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads the SBAT lines of a PE image: what shim holds against its list of revoked generations.

Source: shim SBAT.md "Generation-Based Revocation Metadata". Lines are shown as they are, whatever is in them.
"""

from __future__ import annotations

from dataclasses import dataclass

from pvefi.errors import ImageError
from pvefi.spec.sbat import FIELDS

__all__ = ["SbatEntry", "read_sbat"]

_MAX_SIZE = 64 << 10
"""A section holds a few lines of 100 characters."""


@dataclass(frozen=True, slots=True)
class SbatEntry:
    """One line: a component and its generation, None where that is no number; missing fields are empty."""

    component_name: str
    component_generation: int | None
    vendor_name: str
    vendor_package_name: str
    vendor_version: str
    vendor_url: str


def read_sbat(path: str, offset: int, data: bytes) -> tuple[SbatEntry, ...]:
    """Return the lines of a `.sbat` section; ImageError when it is absurdly large."""
    if len(data) > _MAX_SIZE:
        raise ImageError(path, offset, f"SBAT metadata of at most {_MAX_SIZE:#x} bytes", f"{len(data):#x}")
    text = data.partition(b"\0")[0].decode("utf-8", "backslashreplace")
    return tuple(_entry(line) for line in text.splitlines() if line.strip())


def _entry(line: str) -> SbatEntry:
    parts = [part.strip() for part in line.split(",", len(FIELDS) - 1)]
    name, generation, *rest = parts + [""] * (len(FIELDS) - len(parts))
    number = (
        int(generation) if generation.isascii() and generation.isdigit() and len(generation) < 20 else None
    )
    return SbatEntry(name, number, *rest)
