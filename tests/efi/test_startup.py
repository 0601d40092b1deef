# SPDX-License-Identifier: GPL-2.0-or-later
"""From hvm_start_info to an environment: what of the machine becomes what of EFI."""

from __future__ import annotations

import itertools
import mmap
import struct
from dataclasses import replace

import pytest

from pvefi.efi.environment import Clock, Environment, Surroundings
from pvefi.efi.profiles import PROFILES
from pvefi.efi.protocols.hypervisor_information import Hypervisor
from pvefi.efi.startup import make_environment
from pvefi.errors import GuestFault
from pvefi.guest import load_trampoline
from pvefi.layout import Guid
from pvefi.machines.xen.foreign_memory import DomainMemory
from pvefi.memory import GuestMemory, RamBlock
from pvefi.spec.uefi import guids
from pvefi.spec.uefi.memory import MemoryType
from pvefi.spec.xen.start_info import (
    XEN_HVM_START_MAGIC_VALUE,
    HvmMemmapTableEntry,
    HvmModlistEntry,
    HvmStartInfo,
    MemmapType,
)
from tests.efi.boot.guest import start_of
from tests.machines.xen.made import RAM_SIZE, FakeLibraries, FakeXen

TRAMPOLINE = load_trampoline()
MIB = 1 << 20
SIZE = 32 * MIB
INFO, MEMMAP, MODULES, TEXT, RSDP = 0x1000, 0x2000, 0x3000, 0x4000, 0x5000
RAM = HvmMemmapTableEntry(0, SIZE, MemmapType.RAM)
XEN = Hypervisor(0x40000000, b"XenVMMXenVMM")


def rsdp(revision: int, *, checksum: int | None = None, signature: bytes = b"RSD PTR ") -> bytes:
    """Return the 36 bytes of an RSDP whose first 20 sum to zero."""
    made = bytearray(struct.pack("<8sB6sBI", signature, 0, b"PVEFI ", revision, 0xABCD0000) + bytes(16))
    made[8] = -sum(made[:20]) & 0xFF if checksum is None else checksum
    return bytes(made)


class Started:
    """Makes an environment of a machine that is told by keywords."""

    def __init__(
        self,
        *,
        memory_map: tuple[HvmMemmapTableEntry, ...] = (RAM,),
        modules: tuple[HvmModlistEntry, ...] = (),
        command_line: str = "",
        rsdp: bytes = b"",
        profile: str = "linux",
        hypervisor: Hypervisor = XEN,
        initrd: bytes | None = None,
    ) -> None:
        self.memory = GuestMemory([RamBlock(0, memoryview(mmap.mmap(-1, SIZE)))])
        write = self.memory.write
        write(MEMMAP, b"".join(entry.pack() for entry in memory_map))
        write(MODULES, b"".join(module.pack() for module in modules))
        write(TEXT, command_line.encode() + b"\0")
        write(RSDP, rsdp)
        info = HvmStartInfo(
            XEN_HVM_START_MAGIC_VALUE,
            1,
            0,
            len(modules),
            MODULES if modules else 0,
            TEXT if command_line else 0,
            RSDP if rsdp else 0,
            MEMMAP,
            len(memory_map),
        )
        write(INFO, info.pack())
        surroundings = Surroundings(
            console=lambda _: None,
            random=bytes,
            clock=Clock(idle=lambda _: None),
            initrd=None if initrd is None else memoryview(initrd),
            initrd_by_efi=True,
            image_starts=lambda _: None,
            boot_services_end=lambda: None,
            kernel_may_start=lambda _: None,
        )
        self.efi: Environment
        self.efi, self.information = make_environment(
            self.memory, TRAMPOLINE, start_of(self.memory, INFO), hypervisor, PROFILES[profile], surroundings
        )

    @property
    def tables(self) -> dict[Guid, int]:
        return dict(self.efi.tables.configuration_tables)


def kind(efi: Environment, address: int) -> str:
    span = efi.pages.span_at(address)
    return "" if span is None else span.type.name


# ---------------------------------------------------------------- the memory map


@pytest.mark.parametrize(
    ("profile", "gates", "mailbox"),
    [
        ("linux", "RUNTIME_SERVICES_CODE", "RUNTIME_SERVICES_DATA"),
        ("minimal", "BOOT_SERVICES_CODE", "BOOT_SERVICES_DATA"),
    ],
)
def test_the_trampoline_s_parts_have_the_types_of_their_lifetimes(
    profile: str, gates: str, mailbox: str
) -> None:
    efi = Started(profile=profile).efi
    expected = {
        ".gates": gates,
        ".mailbox": mailbox,
        ".boot": "BOOT_SERVICES_CODE",
        ".stack": "BOOT_SERVICES_DATA",
        ".arena": "BOOT_SERVICES_DATA",
    }
    for part in TRAMPOLINE.segments:
        for address in (part.address, part.end - 1):
            assert kind(efi, address) == expected[part.name]


def test_with_the_minimal_profile_nothing_stays() -> None:
    efi = Started(profile="minimal").efi
    assert not any(descriptor.attribute >> 63 for descriptor in efi.pages.descriptors())


def test_16_mib_and_up_are_free() -> None:
    efi = Started().efi
    span = efi.pages.span_at(16 * MIB)
    assert span is not None
    assert (span.type, span.end) == (MemoryType.CONVENTIONAL, SIZE)


def test_modules_are_loader_data_and_empty_ones_nothing() -> None:
    efi = Started(modules=(HvmModlistEntry(20 * MIB, 5000), HvmModlistEntry(24 * MIB, 0))).efi
    assert kind(efi, 20 * MIB + 4999) == "LOADER_DATA"
    assert kind(efi, 20 * MIB + 8192) == "CONVENTIONAL"
    assert kind(efi, 24 * MIB) == "CONVENTIONAL"


@pytest.mark.parametrize(
    "memory_map",
    [
        (HvmMemmapTableEntry(0, 8 * MIB, MemmapType.RAM),),
        (RAM, HvmMemmapTableEntry(0x81_0000, 0x1000, MemmapType.RESERVED)),
        (HvmMemmapTableEntry(64 * MIB, SIZE, MemmapType.RAM),),
    ],
    ids=["too small", "a hole", "elsewhere"],
)
def test_a_machine_without_room_for_the_trampoline_is_refused(
    memory_map: tuple[HvmMemmapTableEntry, ...],
) -> None:
    with pytest.raises(GuestFault, match=r"no place for pvefi: \.\w+: 0x8"):
        Started(memory_map=memory_map)


def test_a_module_whose_memory_is_mapped_no_more_is_looked_at_again() -> None:
    efi = Started(modules=(HvmModlistEntry(12 * MIB, 6),)).efi
    xen = FakeXen()
    xen.ram[12 * MIB : 12 * MIB + 6] = b"initrd"
    domain = DomainMemory(FakeLibraries(xen), xen.domid, RAM_SIZE)
    efi.physical = domain.memory
    for _ in range(2):
        assert bytes(efi.initrd or b"") == b"initrd"
        domain.forget()
    domain.close()
    xen.close()


def test_a_module_over_the_trampoline_is_refused() -> None:
    with pytest.raises(GuestFault, match=r"no place for pvefi: module 0: .*held by"):
        Started(modules=(HvmModlistEntry(TRAMPOLINE.symbols["gates"], 100),))


def test_every_range_that_pvefi_placed_has_a_name_and_a_place_of_its_own() -> None:
    efi = Started(command_line="quiet", initrd=b"x", rsdp=rsdp(0)).efi
    ranges = [one for one in efi.named_ranges() if not one.name.startswith(".")]
    for before, after in itertools.pairwise(ranges):
        if after.address > before.address:
            assert before.end <= after.address
    parts = TRAMPOLINE.segments
    for one in ranges:
        assert any(part.address <= one.address and one.end <= part.end for part in parts), one
    names = {one.name for one in efi.named_ranges()}
    assert {".gates", "EFI_SYSTEM_TABLE", "EFI_BOOT_SERVICES", "hvm_start_info copy"} <= names


# ---------------------------------------------------------------- ACPI


@pytest.mark.parametrize(
    ("revision", "guid", "other"),
    [
        (0, guids.ACPI_TABLE, guids.ACPI_20_TABLE),
        (1, guids.ACPI_TABLE, guids.ACPI_20_TABLE),
        (2, guids.ACPI_20_TABLE, guids.ACPI_TABLE),
        (3, guids.ACPI_20_TABLE, guids.ACPI_TABLE),
    ],
)
def test_the_rsdp_is_passed_on_under_the_guid_of_its_revision(revision: int, guid: Guid, other: Guid) -> None:
    tables = Started(rsdp=rsdp(revision)).tables
    assert tables[guid] == RSDP
    assert other not in tables


def test_the_acpi_guids_are_those_of_the_specification() -> None:
    assert str(guids.ACPI_TABLE) == "eb9d2d30-2d88-11d3-9a16-0090273fc14d"
    assert str(guids.ACPI_20_TABLE) == "8868e871-e4f1-11d3-bc22-0080c73c8881"


def test_without_an_rsdp_there_is_no_acpi_table() -> None:
    assert not {guids.ACPI_TABLE, guids.ACPI_20_TABLE} & set(Started().tables)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (rsdp(2, signature=b"RSD PTRX"), "expected b'RSD PTR ', found b'RSD PTRX'"),
        (rsdp(2, checksum=1), "do not sum to zero"),
    ],
)
def test_something_that_is_no_rsdp_is_refused(data: bytes, text: str) -> None:
    with pytest.raises(GuestFault, match=f"RSDP at {RSDP:#x}: .*{text}"):
        Started(rsdp=data)


# ---------------------------------------------------------------- what hypervisor this is


def information(started: Started) -> tuple[int, int, bytes, int, int, int, int]:
    """Return what a reader of version 1 reads."""
    found = struct.unpack("<II12sIQII", started.memory.read(started.information, 40))
    return found[0], found[1], found[2], found[3], found[4], found[5], found[6]


def xen_s_version(started: Started) -> tuple[int, bytes, int]:
    found = struct.unpack("<I16sI", started.memory.read(started.information + 40, 24))
    return found[0], found[1], found[2]


def test_the_hypervisor_s_table_has_what_cpuid_and_the_machine_told() -> None:
    started = Started(command_line="console=hvc0")
    assert started.tables[guids.PVEFI_HYPERVISOR_INFORMATION] == started.information
    version, size, signature, base, address, start_info_size, reserved = information(started)
    assert (version, size, reserved) == (2, 64, 0)
    assert (signature, base) == (b"XenVMMXenVMM", 0x40000000)
    copy = HvmStartInfo.read(started.memory.read(address, start_info_size))
    memmap = started.memory.read(copy.memmap_paddr, HvmMemmapTableEntry.SIZE)
    assert (copy.memmap_entries, HvmMemmapTableEntry.unpack(memmap)) == (1, RAM)
    assert started.memory.read(copy.cmdline_paddr, 13) == b"console=hvc0\0"


def test_the_copy_of_start_info_points_at_copies_only() -> None:
    """What the machine placed is free memory for the guest from the start."""
    started = Started(command_line="x", rsdp=rsdp(0))
    first, last = TRAMPOLINE.runtime_arena
    copy = HvmStartInfo.read(started.memory.read(information(started)[4], HvmStartInfo.SIZE))
    assert first <= copy.memmap_paddr < last
    assert first <= copy.cmdline_paddr < last
    assert copy.rsdp_paddr == RSDP  # ACPI's own memory stays what it is


def test_a_copy_of_start_info_without_a_command_line_has_an_empty_one() -> None:
    started = Started()
    copy = HvmStartInfo.read(started.memory.read(information(started)[4], HvmStartInfo.SIZE))
    assert started.memory.read(copy.cmdline_paddr, 1) == b"\0"
    assert copy.modlist_paddr == 0


def test_the_copy_s_module_list_is_a_copy_too() -> None:
    module = HvmModlistEntry(20 * MIB, 100, TEXT)
    started = Started(modules=(module,), command_line="of the module")
    started.memory.fill(MODULES, 0x1000, 0xFF)
    copy = HvmStartInfo.read(started.memory.read(information(started)[4], HvmStartInfo.SIZE))
    assert copy.nr_modules == 1
    listed = HvmModlistEntry.unpack(started.memory.read(copy.modlist_paddr, HvmModlistEntry.SIZE))
    assert listed == replace(module, cmdline_paddr=0)


def test_a_guest_under_nobody_has_zeroes() -> None:
    started = Started(hypervisor=Hypervisor(0, bytes(12)))
    assert information(started)[2:4] == (bytes(12), 0)
    assert xen_s_version(started) == (0, bytes(16), 0)


def test_xen_s_version_is_told_as_xen_s_own_hypercall_tells_it() -> None:
    started = Started(hypervisor=Hypervisor(0x40000000, b"XenVMMXenVMM", 4 << 16 | 17, ".7"))
    assert xen_s_version(started) == (0x0004_0011, b".7".ljust(16, b"\0"), 0)


def test_a_long_extra_version_is_cut_before_the_zero_that_ends_it() -> None:
    started = Started(hypervisor=Hypervisor(0x40000000, b"XenVMMXenVMM", 4 << 16 | 17, ".7-" + "x" * 20))
    assert xen_s_version(started)[1] == b".7-xxxxxxxxxxxx\0"


def test_what_another_hypervisor_s_next_leaf_holds_is_not_taken_for_xen_s_version() -> None:
    started = Started(hypervisor=Hypervisor(0x40000000, b"KVMKVMKVM\0\0\0", 0x01007EFB, ".7"))
    assert xen_s_version(started) == (0, bytes(16), 0)


# ---------------------------------------------------------------- the rest


@pytest.mark.parametrize("profile", PROFILES)
def test_protocols_outside_the_profile_are_on_no_handle(profile: str) -> None:
    efi = Started(profile=profile, initrd=b"x").efi
    for handle in efi.handles.handles():
        assert set(efi.handles.protocols(handle)) <= efi.profile.protocols


def test_two_environments_of_one_process_do_not_meet() -> None:
    first, second = Started(), Started()
    first.efi.tables.install_configuration_table(guids.ACPI_TABLE, 0x1000)
    first.efi.handles.install(0, guids.RNG_PROTOCOL, 0)
    assert guids.ACPI_TABLE not in second.tables
    assert len(first.efi.handles.handles()) == len(second.efi.handles.handles()) + 1


@pytest.mark.parametrize("length", [1, 2047, 8191])
def test_long_command_lines_fit(length: int) -> None:
    text = "x" * length
    assert Started(command_line=text).efi.start.command_line == text


def test_a_memory_map_as_long_as_e820_allows_fits() -> None:
    entries = tuple(
        HvmMemmapTableEntry((1 << 40) + (number << 20), 0x1000, MemmapType.RESERVED) for number in range(127)
    )
    efi = Started(memory_map=(RAM, *entries), command_line="x" * 4095).efi
    assert len(efi.start.memory_map) == 128
