# SPDX-License-Identifier: GPL-2.0-or-later
"""The statuses that the specification lets each service answer with, besides EFI_SUCCESS.

Each line is one table "Status Codes Returned" of UEFI 2.10, by the section that ends the line. A service that
returns no status has none. What an image itself may end with (StartImage, UnloadImage) is not in a table.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from pvefi.spec.uefi.status import EfiStatus

__all__ = ["AT_RUNTIME_ALONE", "SERVICE_STATUSES"]

_FILE = "EFI_FILE_PROTOCOL"
_INPUT, _OUTPUT = "EFI_SIMPLE_TEXT_INPUT_PROTOCOL", "EFI_SIMPLE_TEXT_OUTPUT_PROTOCOL"

# UEFI 2.10, by service: names of statuses without EFI_.
_TABLES: Mapping[str, str] = MappingProxyType(
    {
        "CreateEvent": "INVALID_PARAMETER OUT_OF_RESOURCES",  # §7.1.1
        "CreateEventEx": "INVALID_PARAMETER OUT_OF_RESOURCES",  # §7.1.2
        "CloseEvent": "",  # §7.1.3
        "SignalEvent": "",  # §7.1.4
        "WaitForEvent": "INVALID_PARAMETER UNSUPPORTED",  # §7.1.5
        "CheckEvent": "NOT_READY INVALID_PARAMETER",  # §7.1.6
        "SetTimer": "INVALID_PARAMETER",  # §7.1.7
        "RaiseTPL": "",  # §7.1.8
        "RestoreTPL": "",  # §7.1.9
        "AllocatePages": "OUT_OF_RESOURCES INVALID_PARAMETER NOT_FOUND",  # §7.2.1
        "FreePages": "NOT_FOUND INVALID_PARAMETER",  # §7.2.2
        "GetMemoryMap": "BUFFER_TOO_SMALL INVALID_PARAMETER",  # §7.2.3
        "AllocatePool": "OUT_OF_RESOURCES INVALID_PARAMETER",  # §7.2.4
        "FreePool": "INVALID_PARAMETER",  # §7.2.5
        "InstallProtocolInterface": "OUT_OF_RESOURCES INVALID_PARAMETER",  # §7.3.2
        "UninstallProtocolInterface": "NOT_FOUND ACCESS_DENIED INVALID_PARAMETER",  # §7.3.3
        "ReinstallProtocolInterface": "NOT_FOUND ACCESS_DENIED INVALID_PARAMETER",  # §7.3.4
        "RegisterProtocolNotify": "OUT_OF_RESOURCES INVALID_PARAMETER",  # §7.3.5
        "LocateHandle": "NOT_FOUND BUFFER_TOO_SMALL INVALID_PARAMETER",  # §7.3.6
        "HandleProtocol": "UNSUPPORTED INVALID_PARAMETER",  # §7.3.7
        "LocateDevicePath": "NOT_FOUND INVALID_PARAMETER",  # §7.3.8
        "OpenProtocol": "INVALID_PARAMETER UNSUPPORTED ACCESS_DENIED ALREADY_STARTED",  # §7.3.9
        "CloseProtocol": "INVALID_PARAMETER NOT_FOUND",  # §7.3.10
        "OpenProtocolInformation": "NOT_FOUND OUT_OF_RESOURCES",  # §7.3.11
        "ConnectController": "INVALID_PARAMETER NOT_FOUND SECURITY_VIOLATION",  # §7.3.12
        "DisconnectController": "INVALID_PARAMETER OUT_OF_RESOURCES DEVICE_ERROR",  # §7.3.13
        "ProtocolsPerHandle": "OUT_OF_RESOURCES INVALID_PARAMETER",  # §7.3.14
        "LocateHandleBuffer": "NOT_FOUND OUT_OF_RESOURCES INVALID_PARAMETER",  # §7.3.15
        "LocateProtocol": "NOT_FOUND INVALID_PARAMETER",  # §7.3.16
        "InstallMultipleProtocolInterfaces": "ALREADY_STARTED OUT_OF_RESOURCES INVALID_PARAMETER",  # §7.3.17
        "UninstallMultipleProtocolInterfaces": "INVALID_PARAMETER",  # §7.3.18
        "LoadImage": (
            "NOT_FOUND INVALID_PARAMETER UNSUPPORTED OUT_OF_RESOURCES LOAD_ERROR DEVICE_ERROR ACCESS_DENIED "
            "SECURITY_VIOLATION"
        ),  # §7.4.1
        "StartImage": "INVALID_PARAMETER SECURITY_VIOLATION",  # §7.4.2
        "UnloadImage": "UNSUPPORTED INVALID_PARAMETER",  # §7.4.3
        "Exit": "INVALID_PARAMETER",  # §7.4.5
        "ExitBootServices": "INVALID_PARAMETER",  # §7.4.6
        "SetWatchdogTimer": "INVALID_PARAMETER UNSUPPORTED DEVICE_ERROR",  # §7.5.1
        "Stall": "",  # §7.5.2
        "CopyMem": "",  # §7.5.3
        "SetMem": "",  # §7.5.4
        "GetNextMonotonicCount": "DEVICE_ERROR INVALID_PARAMETER",  # §7.5.5
        "InstallConfigurationTable": "INVALID_PARAMETER NOT_FOUND OUT_OF_RESOURCES",  # §7.5.6
        "CalculateCrc32": "INVALID_PARAMETER",  # §7.5.7
        "GetVariable": (
            "NOT_FOUND BUFFER_TOO_SMALL INVALID_PARAMETER DEVICE_ERROR SECURITY_VIOLATION UNSUPPORTED"
        ),  # §8.2.1
        "GetNextVariableName": (
            "NOT_FOUND BUFFER_TOO_SMALL INVALID_PARAMETER DEVICE_ERROR UNSUPPORTED"
        ),  # §8.2.2
        "SetVariable": (
            "INVALID_PARAMETER OUT_OF_RESOURCES DEVICE_ERROR WRITE_PROTECTED SECURITY_VIOLATION NOT_FOUND "
            "UNSUPPORTED"
        ),  # §8.2.3
        "QueryVariableInfo": "INVALID_PARAMETER UNSUPPORTED",  # §8.2.4
        "GetTime": "INVALID_PARAMETER DEVICE_ERROR UNSUPPORTED",  # §8.3.1
        "SetTime": "INVALID_PARAMETER DEVICE_ERROR UNSUPPORTED",  # §8.3.2
        "GetWakeupTime": "INVALID_PARAMETER DEVICE_ERROR UNSUPPORTED",  # §8.3.3
        "SetWakeupTime": "INVALID_PARAMETER DEVICE_ERROR UNSUPPORTED",  # §8.3.4
        "SetVirtualAddressMap": "UNSUPPORTED INVALID_PARAMETER NO_MAPPING NOT_FOUND",  # §8.4.1
        "ConvertPointer": "NOT_FOUND INVALID_PARAMETER UNSUPPORTED",  # §8.4.2
        "ResetSystem": "",  # §8.5.1
        "GetNextHighMonotonicCount": "DEVICE_ERROR INVALID_PARAMETER UNSUPPORTED",  # §8.5.2
        "UpdateCapsule": "INVALID_PARAMETER DEVICE_ERROR UNSUPPORTED OUT_OF_RESOURCES",  # §8.5.3
        "QueryCapsuleCapabilities": "UNSUPPORTED INVALID_PARAMETER OUT_OF_RESOURCES",  # §8.5.3
        f"{_INPUT}.Reset": "DEVICE_ERROR",  # §12.3.2
        f"{_INPUT}.ReadKeyStroke": "NOT_READY DEVICE_ERROR UNSUPPORTED",  # §12.3.3
        f"{_OUTPUT}.Reset": "DEVICE_ERROR",  # §12.4.2
        f"{_OUTPUT}.OutputString": "DEVICE_ERROR UNSUPPORTED WARN_UNKNOWN_GLYPH",  # §12.4.3
        f"{_OUTPUT}.TestString": "UNSUPPORTED",  # §12.4.4
        f"{_OUTPUT}.QueryMode": "DEVICE_ERROR UNSUPPORTED",  # §12.4.5
        f"{_OUTPUT}.SetMode": "DEVICE_ERROR UNSUPPORTED",  # §12.4.6
        f"{_OUTPUT}.SetAttribute": "DEVICE_ERROR",  # §12.4.7
        f"{_OUTPUT}.ClearScreen": "DEVICE_ERROR UNSUPPORTED",  # §12.4.8
        f"{_OUTPUT}.SetCursorPosition": "DEVICE_ERROR UNSUPPORTED",  # §12.4.9
        f"{_OUTPUT}.EnableCursor": "DEVICE_ERROR UNSUPPORTED",  # §12.4.10
        "EFI_LOAD_FILE2_PROTOCOL.LoadFile": (
            "UNSUPPORTED INVALID_PARAMETER NO_MEDIA DEVICE_ERROR NO_RESPONSE NOT_FOUND ABORTED "
            "BUFFER_TOO_SMALL"
        ),  # §13.2.2
        "EFI_SIMPLE_FILE_SYSTEM_PROTOCOL.OpenVolume": (
            "UNSUPPORTED NO_MEDIA DEVICE_ERROR VOLUME_CORRUPTED ACCESS_DENIED OUT_OF_RESOURCES MEDIA_CHANGED"
        ),  # §13.4.2
        f"{_FILE}.Open": (
            "NOT_FOUND NO_MEDIA MEDIA_CHANGED DEVICE_ERROR VOLUME_CORRUPTED WRITE_PROTECTED ACCESS_DENIED "
            "OUT_OF_RESOURCES VOLUME_FULL INVALID_PARAMETER"
        ),  # §13.5.2
        f"{_FILE}.Close": "",  # §13.5.3
        f"{_FILE}.Delete": "WARN_DELETE_FAILURE",  # §13.5.4
        f"{_FILE}.Read": "NO_MEDIA DEVICE_ERROR VOLUME_CORRUPTED BUFFER_TOO_SMALL",  # §13.5.5
        f"{_FILE}.Write": (
            "UNSUPPORTED NO_MEDIA DEVICE_ERROR VOLUME_CORRUPTED WRITE_PROTECTED ACCESS_DENIED VOLUME_FULL"
        ),  # §13.5.6
        f"{_FILE}.SetPosition": "UNSUPPORTED DEVICE_ERROR",  # §13.5.11
        f"{_FILE}.GetPosition": "UNSUPPORTED DEVICE_ERROR",  # §13.5.12
        f"{_FILE}.GetInfo": (
            "UNSUPPORTED NO_MEDIA DEVICE_ERROR VOLUME_CORRUPTED BUFFER_TOO_SMALL"
        ),  # §13.5.13
        f"{_FILE}.SetInfo": (
            "UNSUPPORTED NO_MEDIA DEVICE_ERROR VOLUME_CORRUPTED WRITE_PROTECTED ACCESS_DENIED VOLUME_FULL "
            "BAD_BUFFER_SIZE"
        ),  # §13.5.14
        f"{_FILE}.Flush": (
            "NO_MEDIA DEVICE_ERROR VOLUME_CORRUPTED WRITE_PROTECTED ACCESS_DENIED VOLUME_FULL"
        ),  # §13.5.15
        "EFI_RNG_PROTOCOL.GetInfo": "UNSUPPORTED DEVICE_ERROR BUFFER_TOO_SMALL",  # §37.5.2
        "EFI_RNG_PROTOCOL.GetRNG": "UNSUPPORTED DEVICE_ERROR NOT_READY INVALID_PARAMETER",  # §37.5.3
    }
)

SERVICE_STATUSES: Mapping[str, tuple[EfiStatus, ...]] = MappingProxyType(
    {service: tuple(EfiStatus[name] for name in names.split()) for service, names in _TABLES.items()}
)
"""Every service and protocol function by the specification's name, in the order of the sections."""

AT_RUNTIME_ALONE: Mapping[str, tuple[EfiStatus, ...]] = MappingProxyType(
    {
        "GetVariable": (EfiStatus.UNSUPPORTED,),  # §8.2.1
        "GetNextVariableName": (EfiStatus.UNSUPPORTED,),  # §8.2.2
    }
)
"""Statuses that a service may give only after ExitBootServices()."""
