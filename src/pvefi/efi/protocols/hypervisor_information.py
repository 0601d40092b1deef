# SPDX-License-Identifier: GPL-2.0-or-later
"""Tells early boot code what hypervisor this is: a configuration table and a protocol with one GUID."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pvefi.efi.environment import Environment
from pvefi.spec.pvefi.hypervisor_information import (
    HYPERVISOR_INFORMATION_VERSION,
    XEN_EXTRAVERSION_LEN,
    XEN_SIGNATURE,
    HypervisorInformation,
)
from pvefi.spec.uefi.guids import PVEFI_HYPERVISOR_INFORMATION

__all__ = ["Hypervisor", "install_protocol", "install_table"]


@dataclass(frozen=True)
class Hypervisor:
    """Who runs the guest, by CPUID: first leaf, 12-byte signature, and eax of the leaf after the first.

    Zeroes where nobody says so. That eax is a version with Xen; `extra` is what follows Xen's version, where
    the machine knows that.
    """

    cpuid_base: int
    signature: bytes
    version: int = 0
    extra: str = ""


def install_table(efi: Environment, hypervisor: Hypervisor) -> int:
    """Place the structure, enter it as a configuration table, and return its guest physical address."""
    start, place = efi.start, efi.runtime_arena.place
    memory_map = b"".join(entry.pack() for entry in start.memory_map)
    # Where the modules lie is set aside, what the machine said about them is not.
    modules = b"".join(replace(module, cmdline_paddr=0).pack() for module in start.modules)
    start_info = replace(
        start.info,
        modlist_paddr=place("hvm_start_info module list copy", modules) if modules else 0,
        memmap_paddr=place("hvm_start_info memory map copy", memory_map),
        cmdline_paddr=place("hvm_start_info command line copy", start.command_line.encode() + b"\0"),
    ).pack()
    copy = place("hvm_start_info copy", start_info)
    xen = hypervisor.signature == XEN_SIGNATURE
    extra = hypervisor.extra.encode("ascii", "replace")[: XEN_EXTRAVERSION_LEN - 1] if xen else b""
    information = HypervisorInformation(
        version=HYPERVISOR_INFORMATION_VERSION,
        size=HypervisorInformation.SIZE,
        signature=hypervisor.signature,
        cpuid_base=hypervisor.cpuid_base,
        start_info=copy,
        start_info_size=len(start_info),
        xen_version=hypervisor.version if xen else 0,
        xen_extra_version=extra.ljust(XEN_EXTRAVERSION_LEN, b"\0"),
    )
    address = place("hypervisor information", information.pack())
    efi.tables.install_configuration_table(PVEFI_HYPERVISOR_INFORMATION, address)
    return address


def install_protocol(efi: Environment, handle: int, information: int) -> None:
    """Put the structure at `information` on an image's `handle`, where the profile offers the protocol."""
    if PVEFI_HYPERVISOR_INFORMATION in efi.profile.protocols:
        efi.handles.install(handle, PVEFI_HYPERVISOR_INFORMATION, information)
