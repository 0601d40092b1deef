# SPDX-License-Identifier: GPL-2.0-or-later
"""Tells early boot code what hypervisor this is: a configuration table and a protocol with one GUID."""

from __future__ import annotations

from dataclasses import replace

from pvefi.efi.environment import Environment
from pvefi.spec.pvefi.hypervisor_information import HYPERVISOR_INFORMATION_VERSION, HypervisorInformation
from pvefi.spec.uefi.guids import PVEFI_HYPERVISOR_INFORMATION

__all__ = ["install_protocol", "install_table"]


def install_table(efi: Environment, cpuid_base: int, signature: bytes) -> int:
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
    information = HypervisorInformation(
        version=HYPERVISOR_INFORMATION_VERSION,
        size=HypervisorInformation.SIZE,
        signature=signature,
        cpuid_base=cpuid_base,
        start_info=copy,
        start_info_size=len(start_info),
    )
    address = place("hypervisor information", information.pack())
    efi.tables.install_configuration_table(PVEFI_HYPERVISOR_INFORMATION, address)
    return address


def install_protocol(efi: Environment, handle: int, information: int) -> None:
    """Put the structure at `information` on an image's `handle`, where the profile offers the protocol."""
    if PVEFI_HYPERVISOR_INFORMATION in efi.profile.protocols:
        efi.handles.install(handle, PVEFI_HYPERVISOR_INFORMATION, information)
