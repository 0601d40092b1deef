# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes the environment of one boot: from hvm_start_info to EFI."""

from __future__ import annotations

from pvefi.efi import boot, runtime
from pvefi.efi.arena import Arena
from pvefi.efi.environment import Environment, Surroundings
from pvefi.efi.events import Events
from pvefi.efi.gates import Gates
from pvefi.efi.handles import HandleDatabase
from pvefi.efi.keys import Keys
from pvefi.efi.memory_attributes import MemoryAttributes
from pvefi.efi.pages import PageMap
from pvefi.efi.paging import map_high_memory
from pvefi.efi.pools import Pools
from pvefi.efi.profiles import Profile
from pvefi.efi.protocols import hypervisor_information, load_file2, rng, text_input, text_output
from pvefi.efi.protocols.hypervisor_information import Hypervisor
from pvefi.efi.runtime.variables import provide_variables
from pvefi.efi.smbios import entry_points
from pvefi.efi.start import Start
from pvefi.efi.tables import SystemTables
from pvefi.errors import GuestFault
from pvefi.guest.trampoline import Trampoline
from pvefi.memory import GuestMemory
from pvefi.spec.acpi import Rsdp
from pvefi.spec.uefi import guids
from pvefi.spec.uefi.memory import MemoryType
from pvefi.spec.uefi.tables import (
    RT_PROPERTIES_TABLE_VERSION,
    RUNTIME_SERVICE_FLAGS,
    RtPropertiesTable,
    RuntimeServicesSupported,
)

__all__ = ["make_environment", "read_declarations", "runtime_properties"]


def read_declarations() -> None:
    """Work out how the services' arguments are decoded, which the first environment would have to do."""
    for service in (*boot.SERVICES.values(), *runtime.SERVICES.values()):
        service.parameters()


def make_environment(
    memory: GuestMemory,
    trampoline: Trampoline,
    start: Start,
    hypervisor: Hypervisor,
    profile: Profile,
    surroundings: Surroundings,
) -> tuple[Environment, int]:
    """Return a fresh environment and the guest physical address of its hypervisor information.

    `start` is what the machine told the trampoline. GuestFault when its memory map leaves no room for what
    pvefi itself needs.
    """
    pages = PageMap.from_memmap((entry.addr, entry.size, entry.type) for entry in start.memory_map)
    _reserve(pages, trampoline, start, profile)
    boot_arena = Arena(memory, *trampoline.boot_arena)
    runtime_arena = Arena(memory, *trampoline.runtime_arena)
    gates = Gates(trampoline)
    efi = Environment(
        physical=memory,
        memory=memory,
        trampoline=trampoline,
        start=start,
        profile=profile,
        surroundings=surroundings,
        pages=pages,
        pools=Pools(pages),
        handles=HandleDatabase(),
        events=Events(surroundings.clock.monotonic),
        keys=Keys(surroundings.typed),
        gates=gates,
        tables=SystemTables(memory, boot_arena, runtime_arena, gates, boot.SERVICES, runtime.SERVICES),
        boot_arena=boot_arena,
        runtime_arena=runtime_arena,
    )
    map_high_memory(efi)
    efi.tables.use_console(*text_input.install(efi), *text_output.install(efi))
    if surroundings.initrd_by_efi:
        load_file2.install(efi)
    rng.install(efi)
    _install_tables(efi)
    provide_variables(efi)
    information = hypervisor_information.install_table(efi, hypervisor)
    return efi, information


def _reserve(pages: PageMap, trampoline: Trampoline, start: Start, profile: Profile) -> None:
    """Enter the trampoline, the gates and the modules in the memory map."""
    code, data = (
        (MemoryType.RUNTIME_SERVICES_CODE, MemoryType.RUNTIME_SERVICES_DATA)
        if profile.stays
        else (MemoryType.BOOT_SERVICES_CODE, MemoryType.BOOT_SERVICES_DATA)
    )
    types = {
        ".gates": code,
        ".mailbox": data,
        ".boot": MemoryType.BOOT_SERVICES_CODE,
    }
    ranges = [
        (part.name, part.address, part.size, types.get(part.name, MemoryType.BOOT_SERVICES_DATA))
        for part in trampoline.segments
    ]
    ranges += [
        (f"module {number}", module.paddr, module.size, MemoryType.LOADER_DATA)
        for number, module in enumerate(start.modules)
        if module.size
    ]
    for name, address, size, memory_type in ranges:
        try:
            pages.reserve(address, size, memory_type, name)
        except ValueError as error:
            raise GuestFault(f"the machine's memory map has no place for pvefi: {error}") from error


def _install_tables(efi: Environment) -> None:
    """Enter the tables on runtime services and memory, and where the machine has SMBIOS and ACPI ones."""
    properties = runtime_properties(efi.profile)
    address = efi.runtime_arena.place("EFI_RT_PROPERTIES_TABLE", properties.pack())
    efi.tables.install_configuration_table(guids.RT_PROPERTIES_TABLE, address)
    if efi.profile.stays:
        efi.memory_attributes = MemoryAttributes(
            efi.physical, efi.runtime_arena, efi.tables, efi.pages, code=".gates"
        )
    for guid, entry_point in entry_points(efi.physical):
        efi.tables.install_configuration_table(guid, entry_point)
    if efi.start.rsdp is not None:
        _install_acpi(efi, efi.start.rsdp)


def runtime_properties(profile: Profile) -> RtPropertiesTable:
    """Return the table that says which runtime services last."""
    return RtPropertiesTable(
        version=RT_PROPERTIES_TABLE_VERSION,
        length=RtPropertiesTable.SIZE,
        runtime_services_supported=_lasting_services(profile),
    )


def _lasting_services(profile: Profile) -> RuntimeServicesSupported:
    """Return the runtime services that do what they are for after ExitBootServices()."""
    offered = runtime.SERVICES.keys() & profile.services - runtime.REFUSING if profile.stays else ()
    lasting = RuntimeServicesSupported(0)
    for slot in offered:
        lasting |= RUNTIME_SERVICE_FLAGS[slot]
    return lasting


def _install_acpi(efi: Environment, rsdp: Rsdp) -> None:
    """Enter ACPI's root pointer under the GUID of its revision."""
    # ACPI 6.5 §5.2.5.3: revision 0 is ACPI 1.0's structure, 2 the extended one.
    guid = guids.ACPI_20_TABLE if rsdp.revision >= 2 else guids.ACPI_TABLE
    efi.tables.install_configuration_table(guid, efi.start.info.rsdp_paddr)
