# SPDX-License-Identifier: GPL-2.0-or-later
"""The three EFI tables as a guest finds them."""

from __future__ import annotations

import struct
import zlib

import pytest

from pvefi.efi.errors import EfiError
from pvefi.efi.profiles import PROFILES
from pvefi.layout import Guid
from pvefi.spec.uefi import guids
from pvefi.spec.uefi.status import EfiStatus
from pvefi.spec.uefi.tables import BOOT_SERVICES_SLOTS, RUNTIME_SERVICES_SLOTS
from tests.efi.boot.guest import FakeGuest

# Where each function pointer stands in the tables of 64-bit firmware, from the order in which EDK2's
# MdePkg/Include/Uefi/UefiSpec.h declares EFI_BOOT_SERVICES and EFI_RUNTIME_SERVICES.
BOOT_OFFSETS = {
    0x18: "RaiseTPL",
    0x20: "RestoreTPL",
    0x28: "AllocatePages",
    0x30: "FreePages",
    0x38: "GetMemoryMap",
    0x40: "AllocatePool",
    0x48: "FreePool",
    0x50: "CreateEvent",
    0x58: "SetTimer",
    0x60: "WaitForEvent",
    0x68: "SignalEvent",
    0x70: "CloseEvent",
    0x78: "CheckEvent",
    0x80: "InstallProtocolInterface",
    0x88: "ReinstallProtocolInterface",
    0x90: "UninstallProtocolInterface",
    0x98: "HandleProtocol",
    0xA0: "Reserved",
    0xA8: "RegisterProtocolNotify",
    0xB0: "LocateHandle",
    0xB8: "LocateDevicePath",
    0xC0: "InstallConfigurationTable",
    0xC8: "LoadImage",
    0xD0: "StartImage",
    0xD8: "Exit",
    0xE0: "UnloadImage",
    0xE8: "ExitBootServices",
    0xF0: "GetNextMonotonicCount",
    0xF8: "Stall",
    0x100: "SetWatchdogTimer",
    0x108: "ConnectController",
    0x110: "DisconnectController",
    0x118: "OpenProtocol",
    0x120: "CloseProtocol",
    0x128: "OpenProtocolInformation",
    0x130: "ProtocolsPerHandle",
    0x138: "LocateHandleBuffer",
    0x140: "LocateProtocol",
    0x148: "InstallMultipleProtocolInterfaces",
    0x150: "UninstallMultipleProtocolInterfaces",
    0x158: "CalculateCrc32",
    0x160: "CopyMem",
    0x168: "SetMem",
    0x170: "CreateEventEx",
}
RUNTIME_OFFSETS = {
    0x18: "GetTime",
    0x20: "SetTime",
    0x28: "GetWakeupTime",
    0x30: "SetWakeupTime",
    0x38: "SetVirtualAddressMap",
    0x40: "ConvertPointer",
    0x48: "GetVariable",
    0x50: "GetNextVariableName",
    0x58: "SetVariable",
    0x60: "GetNextHighMonotonicCount",
    0x68: "ResetSystem",
    0x70: "UpdateCapsule",
    0x78: "QueryCapsuleCapabilities",
    0x80: "QueryVariableInfo",
}
SYSTEM_TABLE = struct.Struct("<24xQI4x8QQQ")
OTHER = Guid.parse("00112233-4455-6677-8899-aabbccddeeff")


@pytest.fixture
def guest() -> FakeGuest:
    return FakeGuest()


def header(guest: FakeGuest, address: int) -> tuple[int, int, int, int, int]:
    found = struct.unpack("<QIIII", guest.memory.read(address, 24))
    return found[0], found[1], found[2], found[3], found[4]


def check(guest: FakeGuest, address: int, signature: bytes, size: int) -> None:
    """Check a table's header as firmware tests do: the CRC over its size, with the CRC as 0."""
    sign, revision, header_size, crc, reserved = header(guest, address)
    assert sign.to_bytes(8, "little") == signature
    assert revision == 0x0002_0064  # 2.10, in units of a tenth below the point
    assert header_size == size
    assert reserved == 0
    data = bytearray(guest.memory.read(address, header_size))
    data[16:20] = bytes(4)
    assert zlib.crc32(data) == crc


def check_all(guest: FakeGuest) -> None:
    tables = guest.efi.tables
    check(guest, tables.system_table, b"IBI SYST", 120)
    check(guest, tables.boot_services, b"BOOTSERV", 0x178)
    check(guest, tables.runtime_services, b"RUNTSERV", 0x88)


def system_table(guest: FakeGuest) -> tuple[int, ...]:
    """Return vendor, revision, six console words, runtime, boot, number of tables and their address."""
    return SYSTEM_TABLE.unpack(guest.memory.read(guest.efi.tables.system_table, 120))


def configuration(guest: FakeGuest) -> list[tuple[Guid, int]]:
    *_, count, address = system_table(guest)
    data = guest.memory.read(address, 24 * count)
    return [
        (Guid(data[at : at + 16]), struct.unpack_from("<Q", data, at + 16)[0])
        for at in range(0, len(data), 24)
    ]


def test_the_slots_stand_where_every_program_expects_them() -> None:
    assert dict(zip(range(0x18, 0x178, 8), BOOT_SERVICES_SLOTS, strict=True)) == BOOT_OFFSETS
    assert dict(zip(range(0x18, 0x88, 8), RUNTIME_SERVICES_SLOTS, strict=True)) == RUNTIME_OFFSETS


@pytest.mark.parametrize("profile", PROFILES)
def test_headers_are_right_in_every_profile(profile: str) -> None:
    check_all(FakeGuest(profile))


@pytest.mark.parametrize("profile", PROFILES)
def test_every_slot_leads_to_a_gate_of_its_own(profile: str) -> None:
    guest = FakeGuest(profile)
    efi = guest.efi
    symbols = efi.trampoline.symbols
    seen = set()
    for table, offsets in (
        (efi.tables.boot_services, BOOT_OFFSETS),
        (efi.tables.runtime_services, RUNTIME_OFFSETS),
    ):
        for offset, name in offsets.items():
            gate = int.from_bytes(guest.memory.read(table + offset, 8), "little")
            index, rest = divmod(gate - symbols["gates"], symbols["GATE_SIZE"])
            found = efi.gates.service(index)
            assert rest == 0
            assert found is not None
            assert found.name == name
            seen.add(gate)
    assert len(seen) == len(BOOT_OFFSETS) + len(RUNTIME_OFFSETS)


def test_the_system_table_leads_to_the_rest(guest: FakeGuest) -> None:
    tables = guest.efi.tables
    vendor, revision, *console, runtime, boot, count, address = system_table(guest)
    assert guest.memory.read(vendor, 12) == "pvefi\0".encode("utf-16-le")
    assert revision == 0x0001_0000
    assert (runtime, boot) == (tables.runtime_services, tables.boot_services)
    in_handle, con_in, out_handle, con_out, error_handle, std_err = console
    handles = guest.efi.handles
    assert handles.interface(in_handle, guids.SIMPLE_TEXT_INPUT_PROTOCOL) == con_in != 0
    assert handles.interface(out_handle, guids.SIMPLE_TEXT_OUTPUT_PROTOCOL) == con_out != 0
    assert (error_handle, std_err) == (out_handle, con_out)
    assert (count, configuration(guest)) == (
        len(tables.configuration_tables),
        list(tables.configuration_tables),
    )
    assert address


def test_a_profile_without_a_keyboard_has_no_console_input() -> None:
    _, _, in_handle, con_in, out_handle, con_out, *_ = system_table(FakeGuest("minimal"))
    assert (in_handle, con_in) == (0, 0)
    assert out_handle
    assert con_out


@pytest.mark.parametrize("profile", PROFILES)
def test_tables_lie_in_memory_of_the_type_that_lasts_as_long_as_they(profile: str) -> None:
    guest = FakeGuest(profile)
    efi = guest.efi
    stays = efi.profile.stays
    runtime = {"RUNTIME_SERVICES_DATA"} if stays else {"BOOT_SERVICES_DATA"}

    def kinds(*addresses: int) -> set[str]:
        spans = [efi.pages.span_at(address) for address in addresses]
        return {span.type.name for span in spans if span is not None}

    vendor, *_, address = system_table(guest)
    tables = efi.tables
    assert kinds(tables.system_table, tables.runtime_services, vendor, address) == runtime
    assert kinds(*(where for _, where in tables.configuration_tables)) == runtime
    assert kinds(tables.boot_services) == {"BOOT_SERVICES_DATA"}
    code = "RUNTIME_SERVICES_CODE" if stays else "BOOT_SERVICES_CODE"
    assert kinds(efi.trampoline.symbols["gates"]) == {code}


def test_a_configuration_table_is_added_replaced_and_removed(guest: FakeGuest) -> None:
    tables = guest.efi.tables
    before = configuration(guest)
    tables.install_configuration_table(OTHER, 0x1000)
    assert configuration(guest) == [*before, (OTHER, 0x1000)]
    tables.install_configuration_table(guids.LINUX_INITRD_MEDIA, 0x3000)
    tables.install_configuration_table(OTHER, 0x2000)
    assert configuration(guest) == [*before, (OTHER, 0x2000), (guids.LINUX_INITRD_MEDIA, 0x3000)]
    check_all(guest)
    tables.install_configuration_table(OTHER, 0)
    assert configuration(guest) == [*before, (guids.LINUX_INITRD_MEDIA, 0x3000)]
    check_all(guest)


def test_removing_what_is_not_there_is_not_found(guest: FakeGuest) -> None:
    with pytest.raises(EfiError) as refusal:
        guest.efi.tables.install_configuration_table(OTHER, 0)
    assert refusal.value.status == EfiStatus.NOT_FOUND


def test_the_array_fills_up_and_takes_again_after_a_removal(guest: FakeGuest) -> None:
    tables = guest.efi.tables
    numbered = [Guid(number.to_bytes(16, "little")) for number in range(1, 100)]
    for guid in numbered[: 64 - len(configuration(guest))]:
        tables.install_configuration_table(guid, 0x1000)
    with pytest.raises(EfiError, match="all 64 configuration tables") as refusal:
        tables.install_configuration_table(numbered[-1], 0x1000)
    assert refusal.value.status == EfiStatus.OUT_OF_RESOURCES
    assert len(configuration(guest)) == 64
    check_all(guest)
    tables.install_configuration_table(numbered[0], 0x2000)  # a replacement takes no slot
    tables.install_configuration_table(numbered[0], 0)
    tables.install_configuration_table(OTHER, 0x1000)
    assert configuration(guest)[-1] == (OTHER, 0x1000)
    place = next(one for one in guest.efi.runtime_arena.ranges if one.name == "configuration tables")
    assert place.size == 64 * 24


def test_without_any_table_there_is_no_array(guest: FakeGuest) -> None:
    for guid, _ in guest.efi.tables.configuration_tables:
        guest.efi.tables.install_configuration_table(guid, 0)
    assert system_table(guest)[-2:] == (0, 0)
    check_all(guest)


def test_leaving_boot_services_clears_what_goes_with_them(guest: FakeGuest) -> None:
    guest.efi.tables.leave_boot_services()
    _, _, *console, runtime, boot, count, _ = system_table(guest)
    assert console == [0] * 6
    assert boot == 0
    assert runtime == guest.efi.tables.runtime_services
    assert count == len(guest.efi.tables.configuration_tables)
    check_all(guest)


def test_configuration_tables_can_change_after_boot_services(guest: FakeGuest) -> None:
    guest.efi.tables.leave_boot_services()
    guest.efi.tables.install_configuration_table(OTHER, 0x1000)
    assert configuration(guest)[-1] == (OTHER, 0x1000)
    assert system_table(guest)[-3] == 0  # boot services do not come back
    check_all(guest)


def test_runtime_slots_may_all_lead_to_a_stub(guest: FakeGuest) -> None:
    guest.efi.tables.use_runtime_stub(0xABCDE0)
    table = guest.efi.tables.runtime_services
    assert guest.words(table + 0x18, 14) == [0xABCDE0] * 14
    check_all(guest)


@pytest.mark.parametrize(("profile", "lasting"), [("minimal", 0), ("linux", 0x27F3)])
def test_the_runtime_properties_promise_what_is_offered(profile: str, lasting: int) -> None:
    guest = FakeGuest(profile)
    address = dict(configuration(guest))[guids.RT_PROPERTIES_TABLE]
    assert struct.unpack("<HHI", guest.memory.read(address, 8)) == (1, 8, lasting)
