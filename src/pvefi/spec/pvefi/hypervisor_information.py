# SPDX-License-Identifier: GPL-2.0-or-later
"""What hypervisor this is, for code that runs before the kernel can find out.

The same structure is a configuration table and a protocol interface on the image's handle, both under
PVEFI_HYPERVISOR_INFORMATION. docs/hypervisor-information.md is its specification.
"""

from __future__ import annotations

from typing import Annotated

from pvefi.layout import U32, U64, Bytes, Structure, layout

__all__ = [
    "HYPERVISOR_INFORMATION_VERSION",
    "SETUP_DATA_TYPE",
    "XEN_EXTRAVERSION_LEN",
    "XEN_SIGNATURE",
    "HypervisorInformation",
]

HYPERVISOR_INFORMATION_VERSION = 2
XEN_SIGNATURE = b"XenVMMXenVMM"
"""XEN_CPUID_SIGNATURE_* of xen/include/public/arch-x86/cpuid.h."""
XEN_EXTRAVERSION_LEN = 16
"""xen/include/public/version.h; the zero that ends it counts."""
SETUP_DATA_TYPE = 0x66657670
"""The type of the setup_data node that carries the structure: the characters "pvef". Linux skips it."""


@layout(size=64)
class HypervisorInformation(Structure):
    """PVEFI_HYPERVISOR_INFORMATION, version 2; version 1 ended behind `reserved`.

    `signature` is what CPUID leaf `cpuid_base` returns in ebx, ecx, edx; both are 0 where no hypervisor
    announces itself. `start_info` is the guest physical address of a copy of hvm_start_info,
    `start_info_size` its size in bytes. Where the signature is Xen's, `xen_version` is its major version in
    the upper and its minor version in the lower 16 bits, and `xen_extra_version` is what follows these, text
    that is filled up with zeroes; all zeroes where nobody told. Both are as the hypercall xen_version has
    them (xen/include/public/version.h).
    """

    version: U32
    size: U32
    signature: Annotated[bytes, Bytes(12)]
    cpuid_base: U32
    start_info: U64
    start_info_size: U32
    reserved: U32 = 0
    xen_version: U32 = 0
    xen_extra_version: Annotated[bytes, Bytes(XEN_EXTRAVERSION_LEN)] = bytes(XEN_EXTRAVERSION_LEN)
    reserved2: U32 = 0
