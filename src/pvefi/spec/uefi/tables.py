# SPDX-License-Identifier: GPL-2.0-or-later
"""The EFI System Table and the two services tables — UEFI 2.10 §4."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntFlag
from types import MappingProxyType

from pvefi.layout import U16, U32, U64, Guid, Ptr, Structure, layout

__all__ = [
    "BOOT_SERVICES_SIGNATURE",
    "BOOT_SERVICES_SLOTS",
    "EFI_2_10_SYSTEM_TABLE_REVISION",
    "RESERVED_SLOT",
    "MEMORY_ATTRIBUTES_TABLE_VERSION",
    "RT_PROPERTIES_TABLE_VERSION",
    "RUNTIME_SERVICE_FLAGS",
    "RUNTIME_SERVICES_SIGNATURE",
    "RUNTIME_SERVICES_SLOTS",
    "SYSTEM_TABLE_SIGNATURE",
    "ConfigurationTableEntry",
    "RtPropertiesTable",
    "RuntimeServicesSupported",
    "SystemTable",
    "TableHeader",
]

SYSTEM_TABLE_SIGNATURE = 0x5453595320494249  # UEFI 2.10 §4.3.1: "IBI SYST"
BOOT_SERVICES_SIGNATURE = 0x56524553544F4F42  # UEFI 2.10 §4.4.1: "BOOTSERV"
RUNTIME_SERVICES_SIGNATURE = 0x56524553544E5552  # UEFI 2.10 §4.5.1: "RUNTSERV"
EFI_2_10_SYSTEM_TABLE_REVISION = 2 << 16 | 100  # UEFI 2.10 §4.3.1; both services tables use it too

RESERVED_SLOT = "Reserved"
"""The slot after HandleProtocol, which UEFI 2.10 §4.4.1 leaves without a service."""

# UEFI 2.10 §4.4.1, in the table's order.
BOOT_SERVICES_SLOTS = (
    "RaiseTPL",
    "RestoreTPL",
    "AllocatePages",
    "FreePages",
    "GetMemoryMap",
    "AllocatePool",
    "FreePool",
    "CreateEvent",
    "SetTimer",
    "WaitForEvent",
    "SignalEvent",
    "CloseEvent",
    "CheckEvent",
    "InstallProtocolInterface",
    "ReinstallProtocolInterface",
    "UninstallProtocolInterface",
    "HandleProtocol",
    RESERVED_SLOT,
    "RegisterProtocolNotify",
    "LocateHandle",
    "LocateDevicePath",
    "InstallConfigurationTable",
    "LoadImage",
    "StartImage",
    "Exit",
    "UnloadImage",
    "ExitBootServices",
    "GetNextMonotonicCount",
    "Stall",
    "SetWatchdogTimer",
    "ConnectController",
    "DisconnectController",
    "OpenProtocol",
    "CloseProtocol",
    "OpenProtocolInformation",
    "ProtocolsPerHandle",
    "LocateHandleBuffer",
    "LocateProtocol",
    "InstallMultipleProtocolInterfaces",
    "UninstallMultipleProtocolInterfaces",
    "CalculateCrc32",
    "CopyMem",
    "SetMem",
    "CreateEventEx",
)

# UEFI 2.10 §4.5.1, in the table's order.
RUNTIME_SERVICES_SLOTS = (
    "GetTime",
    "SetTime",
    "GetWakeupTime",
    "SetWakeupTime",
    "SetVirtualAddressMap",
    "ConvertPointer",
    "GetVariable",
    "GetNextVariableName",
    "SetVariable",
    "GetNextHighMonotonicCount",
    "ResetSystem",
    "UpdateCapsule",
    "QueryCapsuleCapabilities",
    "QueryVariableInfo",
)


@layout(size=24)
class TableHeader(Structure):
    """EFI_TABLE_HEADER — UEFI 2.10 §4.2.1; `crc32` covers `header_size` bytes with itself as 0."""

    signature: U64
    revision: U32
    header_size: U32
    crc32: U32 = 0
    reserved: U32 = 0


@layout(size=120)
class SystemTable(Structure):
    """EFI_SYSTEM_TABLE — UEFI 2.10 §4.3.1, 64-bit."""

    hdr: TableHeader
    firmware_vendor: Ptr
    firmware_revision: U32
    _pad: U32
    console_in_handle: U64
    con_in: Ptr
    console_out_handle: U64
    con_out: Ptr
    standard_error_handle: U64
    std_err: Ptr
    runtime_services: Ptr
    boot_services: Ptr
    number_of_table_entries: U64
    configuration_table: Ptr


@layout(size=24)
class ConfigurationTableEntry(Structure):
    """EFI_CONFIGURATION_TABLE — UEFI 2.10 §4.6, 64-bit."""

    vendor_guid: Guid
    vendor_table: Ptr


RT_PROPERTIES_TABLE_VERSION = 1  # UEFI 2.10 §4.6.2


class RuntimeServicesSupported(IntFlag):
    """Which runtime services work after ExitBootServices — UEFI 2.10 §4.6.2."""

    GET_TIME = 0x0001
    SET_TIME = 0x0002
    GET_WAKEUP_TIME = 0x0004
    SET_WAKEUP_TIME = 0x0008
    GET_VARIABLE = 0x0010
    GET_NEXT_VARIABLE_NAME = 0x0020
    SET_VARIABLE = 0x0040
    SET_VIRTUAL_ADDRESS_MAP = 0x0080
    CONVERT_POINTER = 0x0100
    GET_NEXT_HIGH_MONOTONIC_COUNT = 0x0200
    RESET_SYSTEM = 0x0400
    UPDATE_CAPSULE = 0x0800
    QUERY_CAPSULE_CAPABILITIES = 0x1000
    QUERY_VARIABLE_INFO = 0x2000


def _flag(slot: str) -> RuntimeServicesSupported:
    """Return the flag of a slot: SET_TIME of SetTime."""
    words = "".join(f"_{letter}" if letter.isupper() else letter for letter in slot)
    return RuntimeServicesSupported[words.strip("_").upper()]


RUNTIME_SERVICE_FLAGS: Mapping[str, RuntimeServicesSupported] = MappingProxyType(
    {slot: _flag(slot) for slot in RUNTIME_SERVICES_SLOTS}
)
"""The flag of each slot of EFI_RUNTIME_SERVICES in EFI_RT_PROPERTIES_TABLE."""


@layout(size=8)
class RtPropertiesTable(Structure):
    """EFI_RT_PROPERTIES_TABLE — UEFI 2.10 §4.6.2."""

    version: U16
    length: U16
    runtime_services_supported: U32


MEMORY_ATTRIBUTES_TABLE_VERSION = 2  # UEFI 2.10 §4.6.4


@layout(size=16)
class MemoryAttributesTable(Structure):
    """EFI_MEMORY_ATTRIBUTES_TABLE — UEFI 2.10 §4.6.4; `number_of_entries` memory descriptors follow.

    They are `descriptor_size` bytes apart. Bit 0 of `flags`: runtime code has landing pads (CET-IBT).
    """

    version: U32
    number_of_entries: U32
    descriptor_size: U32
    flags: U32
