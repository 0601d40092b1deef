# SPDX-License-Identifier: GPL-2.0-or-later
"""Nodes of the `setup_data` list, by which a boot loader extends boot_params.

Source: Linux boot.rst "setup_data" and arch/x86/include/uapi/asm/setup_data.h.
"""

from __future__ import annotations

from typing import Annotated

from pvefi.layout import U32, U64, OpenEnum, Scalar, Structure, layout

__all__ = ["SETUP_INDIRECT", "SetupData", "SetupDataType", "SetupIndirect"]

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
