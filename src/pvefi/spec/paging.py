# SPDX-License-Identifier: GPL-2.0-or-later
"""Page tables of four and five levels, and the registers that rule them — Intel SDM vol. 3A §4.5 and §4.6."""

__all__ = [
    "CR0_PAGING",
    "CR0_WRITE_PROTECT",
    "CR4_LA57",
    "EFER_LONG_MODE_ACTIVE",
    "EFER_NO_EXECUTE",
    "ENTRIES",
    "FRAME",
    "LARGE_PAGES",
    "NO_EXECUTE",
    "PAGE_SHIFT",
    "PAGE_SIZE_BIT",
    "PRESENT",
    "TABLE_SHIFT",
    "WRITABLE",
    "levels",
]

PRESENT = 1 << 0
WRITABLE = 1 << 1
PAGE_SIZE_BIT = 1 << 7
"""In an entry of a level that has large pages: this is one."""
NO_EXECUTE = 1 << 63
FRAME = 0x000F_FFFF_FFFF_F000
ENTRIES = 512

PAGE_SHIFT = 12
TABLE_SHIFT = 21
"""What one page table of the last level maps, or a large page in its stead; there are larger ones too."""
LARGE_PAGES = (TABLE_SHIFT, 30)

CR0_WRITE_PROTECT = 1 << 16
"""Without it the kernel may write to pages that are not writable."""
CR0_PAGING = 1 << 31
CR4_LA57 = 1 << 12
EFER_LONG_MODE_ACTIVE = 1 << 10
EFER_NO_EXECUTE = 1 << 11
"""Without it there is no NO_EXECUTE: all that is mapped can be executed."""


def levels(cr4: int) -> tuple[int, ...]:
    """Return by how much an address is shifted for its index at each level but the last, from the top."""
    return (48, 39, 30, TABLE_SHIFT) if cr4 & CR4_LA57 else (39, 30, TABLE_SHIFT)
