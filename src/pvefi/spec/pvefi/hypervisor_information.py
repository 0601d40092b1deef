# SPDX-License-Identifier: GPL-2.0-or-later
"""What hypervisor this is, for code that runs before the kernel can find out.

The same structure is a configuration table and a protocol interface on the image's handle, both under
PVEFI_HYPERVISOR_INFORMATION. docs/hypervisor-information.md is its specification.
"""

from __future__ import annotations

from typing import Annotated

from pvefi.layout import U32, U64, Bytes, Structure, layout

__all__ = ["HYPERVISOR_INFORMATION_VERSION", "SETUP_DATA_TYPE", "HypervisorInformation"]

HYPERVISOR_INFORMATION_VERSION = 1
SETUP_DATA_TYPE = 0x66657670
"""The type of the setup_data node that carries the structure: the characters "pvef". Linux skips it."""


@layout(size=40)
class HypervisorInformation(Structure):
    """PVEFI_HYPERVISOR_INFORMATION, version 1.

    `signature` is what CPUID leaf `cpuid_base` returns in ebx, ecx, edx; both are 0 where no hypervisor
    announces itself. `start_info` is the guest physical address of a copy of hvm_start_info,
    `start_info_size` its size in bytes.
    """

    version: U32
    size: U32
    signature: Annotated[bytes, Bytes(12)]
    cpuid_base: U32
    start_info: U64
    start_info_size: U32
    reserved: U32 = 0
