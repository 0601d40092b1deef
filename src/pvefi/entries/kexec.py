# SPDX-License-Identifier: GPL-2.0-or-later
"""The 64-bit entry as a kernel gets it by kexec from one that EFI booted; the host side plays that first one.

State demanded: as for `linux64`, and besides what kexec_file_load() hands on (Linux
arch/x86/kernel/kexec-bzimage64.c): boot services have ended and SetVirtualAddressMap() was called;
boot_params.efi_info holds the system table and the memory map of what stays, with virtual addresses; a
setup_data node of type EFI holds the physical addresses of what that call made virtual, another one a seed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from pvefi.efi.boot.image import end_boot_services
from pvefi.efi.environment import Environment
from pvefi.efi.pages import DESCRIPTOR_SIZE
from pvefi.efi.runtime.virtual_memory import relocate
from pvefi.efi.service import Steps
from pvefi.efi.virtual_map import VirtualMap
from pvefi.entries import linux64
from pvefi.entries.entry import BootInfo, Entry, EntryRequest
from pvefi.entries.linux_boot import (
    check,
    fill_zero_page,
    load_kernel,
    place,
    place_zero_page,
    wanted_memory,
)
from pvefi.errors import UsageError
from pvefi.guest.mailbox import Commit
from pvefi.image import EntryKind
from pvefi.spec.linux.boot_params import EFI64_LOADER_SIGNATURE, BootParams, EfiInfo, SecureBootMode
from pvefi.spec.linux.e820 import MAX_ENTRIES, E820Entry, E820Type, type_by_stub
from pvefi.spec.linux.setup_data import NO_TABLE, EfiSetupData, SetupData, SetupDataType
from pvefi.spec.linux.setup_header import LoaderType
from pvefi.spec.uefi import guids
from pvefi.spec.uefi.memory import (
    EFI_MEMORY_DESCRIPTOR_VERSION,
    PAGE_SIZE,
    MemoryAttribute,
    MemoryDescriptor,
    MemoryType,
)
from pvefi.verdict import Verdict

__all__ = ["ENTRY", "with_linux_addresses"]

_SEED_SIZE = 32  # EFI_RANDOM_SEED_SIZE, include/linux/efi.h; RNG_SEED_LENGTH, kexec-bzimage64.c
_EFI_VA_START = (1 << 64) - (4 << 30)  # arch/x86/include/asm/pgtable_64_types.h: -4 GiB, and downwards
_PMD_SIZE = 2 << 20  # arch/x86/include/asm/pgtable_64_types.h
_LOWEST_EXTENDED, _MOST_EXTENDED_K = 1 << 20, 0xFC00  # kexec-bzimage64.c: 63 MiB from 1 MiB on
_BOOT_SERVICES = (MemoryType.BOOT_SERVICES_CODE, MemoryType.BOOT_SERVICES_DATA)


def with_linux_addresses(memory_map: tuple[MemoryDescriptor, ...]) -> tuple[MemoryDescriptor, ...]:
    """Return what Linux calls SetVirtualAddressMap() with: runtime and boot services memory, from the top.

    Linux 6.1 and 6.12 arch/x86/platform/efi/efi.c efi_map_regions, efi_64.c efi_map_region: addresses go down
    from -4 GiB, each with its physical address's distance to a 2 MiB boundary.
    """
    made: list[MemoryDescriptor] = []
    virtual = _EFI_VA_START
    for one in reversed(memory_map):
        if not one.attribute & MemoryAttribute.RUNTIME and one.type not in _BOOT_SERVICES:
            continue
        below = virtual - one.number_of_pages * PAGE_SIZE
        virtual = below // _PMD_SIZE * _PMD_SIZE + one.physical_start % _PMD_SIZE
        if virtual > below:
            virtual -= _PMD_SIZE
        made.append(replace(one, virtual_start=virtual))
    return tuple(made)


def _enter(efi: Environment, request: EntryRequest, information: int) -> Steps[Verdict]:
    """Load the kernel, leave boot services as a first kernel does, and jump to startup_64."""
    _install_seed(efi)
    if request.boot_info is not BootInfo.TABLE:
        efi.tables.install_configuration_table(guids.PVEFI_HYPERVISOR_INFORMATION, 0)
    kernel = load_kernel(efi, request)
    virtual = with_linux_addresses(efi.pages.descriptors())
    params = fill_zero_page(efi, kernel, request, information, machine=False)
    entries = tuple(_e820(efi.pages.descriptors()))
    if len(entries) > MAX_ENTRIES:
        raise UsageError(f"expected at most {MAX_ENTRIES} ranges in the memory map, found {len(entries)}")
    extended_k = _extended_k(entries)
    params = replace(
        params,
        screen_info=replace(params.screen_info, ext_mem_k=min(extended_k, _MOST_EXTENDED_K)),
        alt_mem_k=min(extended_k, (1 << 32) - 1),
        acpi_rsdp_addr=efi.start.info.rsdp_paddr,
        efi_info=_efi_info(efi, virtual),
        secure_boot=_secure_boot(efi),
        e820_entries=len(entries),
        e820_table=entries + params.e820_table[len(entries) :],
        hdr=replace(
            params.hdr,
            type_of_loader=LoaderType.KEXEC << 4,
            loadflags=0,
            setup_data=_setup_data(efi, params),
        ),
    )
    address = place_zero_page(efi, kernel, params)
    yield Commit(end_boot_services(efi).take(), None)
    # machine_kexec_64.c, native_idt_invalidate: a first kernel's handlers are gone. Those of the trampoline
    # could not ring any more, the mailbox has only its virtual address now.
    idt = efi.trampoline.symbols["idt"]
    efi.physical.fill(idt, efi.trampoline.symbols["idt_end"] - idt)
    relocate(efi, VirtualMap(virtual))
    return (yield from linux64.start(efi, kernel, address))


def _install_seed(efi: Environment) -> None:
    """Leave the table that Linux's stub makes, and each kernel fills anew before the next one starts.

    drivers/firmware/efi/libstub/random.c, efi_random_get_seed; drivers/firmware/efi/efi.c,
    update_efi_random_seed.
    """
    seed = _SEED_SIZE.to_bytes(4, "little") + efi.surroundings.random(_SEED_SIZE)
    address = efi.pools.allocate(MemoryType.ACPI_RECLAIM, len(seed))
    efi.physical.write(address, seed)
    efi.tables.install_configuration_table(guids.LINUX_RANDOM_SEED, address)


def _e820(memory_map: tuple[MemoryDescriptor, ...]) -> Iterator[E820Entry]:
    """Yield the memory map as the first kernel's stub has made it, neighbours of one type as one range."""
    last: E820Entry | None = None
    for one in memory_map:
        kind, size = type_by_stub(one), one.number_of_pages * PAGE_SIZE
        if kind is None:
            continue
        if last is not None and (last.type, last.addr + last.size) == (kind, one.physical_start):
            last = replace(last, size=last.size + size)
            continue
        if last is not None:
            yield last
        last = E820Entry(one.physical_start, size, kind)
    if last is not None:
        yield last


def _extended_k(entries: tuple[E820Entry, ...]) -> int:
    """Return the KiB of RAM from 1 MiB on without a gap, as kexec-bzimage64.c counts them."""
    for one in entries:
        if one.type == E820Type.RAM and one.addr <= _LOWEST_EXTENDED < one.addr + one.size:
            return (one.addr + one.size - 1 >> 10) - (_LOWEST_EXTENDED >> 10)
    return 0


def _efi_info(efi: Environment, virtual: tuple[MemoryDescriptor, ...]) -> EfiInfo:
    """Place the memory map of what stays, and return where it and the system table are."""
    padding = bytes(DESCRIPTOR_SIZE - MemoryDescriptor.SIZE)
    # quirks.c, efi_free_boot_services: a first kernel forgets the boot services' memory when it has gone.
    packed = b"".join(one.pack() + padding for one in virtual if one.attribute & MemoryAttribute.RUNTIME)
    memory_map = place(efi, "EFI memory map", packed)
    return EfiInfo(
        efi_loader_signature=EFI64_LOADER_SIGNATURE,
        efi_systab=efi.tables.system_table & 0xFFFFFFFF,
        efi_memdesc_size=DESCRIPTOR_SIZE,
        efi_memdesc_version=EFI_MEMORY_DESCRIPTOR_VERSION,
        efi_memmap=memory_map & 0xFFFFFFFF,
        efi_memmap_size=len(packed),
        efi_systab_hi=efi.tables.system_table >> 32,
        efi_memmap_hi=memory_map >> 32,
    )


def _secure_boot(efi: Environment) -> SecureBootMode:
    """Return what the first kernel's stub has found: drivers/firmware/efi/libstub/secureboot.c."""
    value = {
        name: variable.data
        for name in ("SecureBoot", "SetupMode")
        if (variable := efi.volatile_variables.get(name, guids.GLOBAL_VARIABLE))
    }
    on = value.get("SecureBoot") == b"\1" and value.get("SetupMode") != b"\1"
    return SecureBootMode.ENABLED if on else SecureBootMode.DISABLED


def _setup_data(efi: Environment, params: BootParams) -> int:
    """Place the nodes that kexec_file_load() makes, before those of `params`; return the first's address."""
    tables = dict(efi.tables.configuration_tables)
    content = EfiSetupData(
        fw_vendor=efi.tables.vendor,
        tables=efi.tables.configuration,
        smbios=tables.get(guids.SMBIOS_TABLE, NO_TABLE),
    ).pack()
    node = SetupData(next=params.hdr.setup_data, type=SetupDataType.EFI, len=len(content))
    first = place(efi, "setup_data", node.pack() + content)
    node = SetupData(next=first, type=SetupDataType.RNG_SEED, len=_SEED_SIZE)
    return place(efi, "setup_data", node.pack() + efi.surroundings.random(_SEED_SIZE))


ENTRY = Entry(
    EntryKind.KEXEC,
    64,
    _enter,
    wanted_memory,
    (BootInfo.TABLE, BootInfo.SETUP_DATA, BootInfo.NONE),
    check,
    needs_runtime=True,
)
