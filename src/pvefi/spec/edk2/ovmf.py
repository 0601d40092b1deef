# SPDX-License-Identifier: GPL-2.0-or-later
"""Where things stand in OVMF's file of variables — edk2 OvmfPkg/Include/Fdf/VarStore.fdf.inc.

From the start: the firmware volume's header and the variable store, an event log that nothing uses, the
working block and the spare area of fault tolerant writes.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FLASH_ATTRIBUTES", "OVMF_2M", "OVMF_4M", "OVMF_LAYOUTS", "StoreLayout"]

FLASH_ATTRIBUTES = 0x0004FEFF
"""EFI_FVB_ATTRIBUTES_2 of the volume in OVMF's file."""


@dataclass(frozen=True)
class StoreLayout:
    """Sizes and offsets in bytes; `store_size` counts the firmware volume's header.

    `largest_variable` is the size of the largest variable that OVMF writes, its header, name and data
    together, and `largest_authenticated` that of an authenticated one: PcdMaxVariableSize and
    PcdMaxAuthVariableSize in OvmfPkg/OvmfPkgX64.dsc.
    """

    name: str
    size: int
    block_size: int
    store_size: int
    working_offset: int
    working_size: int
    spare_offset: int
    spare_size: int
    largest_variable: int
    largest_authenticated: int


OVMF_4M = StoreLayout("4M", 0x84000, 0x1000, 0x40000, 0x41000, 0x1000, 0x42000, 0x42000, 0x8400, 0x8400)
"""OVMF of 4 MiB, Debian's OVMF_VARS_4M.fd."""
OVMF_2M = StoreLayout("2M", 0x20000, 0x1000, 0xE000, 0xF000, 0x1000, 0x10000, 0x10000, 0x2000, 0x2800)
"""OVMF of 1 or 2 MiB, Debian's OVMF_VARS.fd."""
OVMF_LAYOUTS = (OVMF_4M, OVMF_2M)
