# SPDX-License-Identifier: GPL-2.0-or-later
"""Nodes of the `setup_data` list, by which a boot loader extends boot_params.

Source: Linux boot.rst "setup_data" and arch/x86/include/uapi/asm/setup_data.h.
"""

from __future__ import annotations

from typing import Annotated

from pvefi.layout import U32, U64, Array, OpenEnum, Scalar, Structure, layout

__all__ = ["NO_TABLE", "SETUP_INDIRECT", "EfiSetupData", "SetupData", "SetupDataType", "SetupIndirect"]

SETUP_INDIRECT = 1 << 31
"""Set in `type`: the data is a SetupIndirect that says where the real data is."""


class SetupDataType(OpenEnum):
    """SETUP_*."""

    NONE = 0
    E820_EXT = 1
    DTB = 2
    PCI = 3
    EFI = 4
    APPLE_PROPERTIES = 5
    JAILHOUSE = 6
    CC_BLOB = 7
    IMA = 8
    RNG_SEED = 9
    KEXEC_KHO = 10
    INDIRECT = SETUP_INDIRECT


@layout(size=16)
class SetupData(Structure):
    """struct setup_data, without the `len` bytes that follow it."""

    next: U64  # physical address of the next node, 0 at the end
    type: Annotated[SetupDataType, Scalar("I")]
    len: U32


@layout(size=24)
class SetupIndirect(Structure):
    """struct setup_indirect, the data of a node of type INDIRECT."""

    type: U32  # SETUP_INDIRECT | SETUP_*
    reserved: U32
    len: U64
    addr: U64


NO_TABLE = (1 << 64) - 1
"""EFI_INVALID_TABLE_ADDR (include/linux/efi.h): the first kernel has found no such table."""


@layout(size=96)
class EfiSetupData(Structure):
    """struct efi_setup_data (arch/x86/include/asm/efi.h), the data of a node of type EFI.

    Physical addresses of what SetVirtualAddressMap() has made virtual, for a kernel that comes later.
    """

    fw_vendor: U64
    runtime: U64 = 0  # __unused since Linux 5.7; kexec-tools fills it in
    tables: U64 = 0
    smbios: U64 = 0
    reserved: Annotated[tuple[int, ...], Array(8, "Q")] = (0,) * 8
