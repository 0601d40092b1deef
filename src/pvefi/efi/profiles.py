# SPDX-License-Identifier: GPL-2.0-or-later
"""Profiles: which services and protocols an environment offers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pvefi.layout import Guid
from pvefi.spec.uefi import guids
from pvefi.spec.uefi.tables import BOOT_SERVICES_SLOTS, RUNTIME_SERVICES_SLOTS

__all__ = ["PROFILES", "Profile"]


@dataclass(frozen=True)
class Profile:
    """What an environment offers; whatever lies outside answers EFI_UNSUPPORTED, a protocol EFI_NOT_FOUND.

    `services` are names of slots of the two tables; functions of an offered protocol are always offered.
    With `stays`, gates, mailbox and tables lie in runtime memory and outlive boot services; without,
    nothing of pvefi stays in the guest, and runtime slots then lead to a stub that needs no host.
    """

    name: str
    purpose: str
    services: frozenset[str]
    protocols: frozenset[Guid]
    stays: bool


_MINIMAL_SERVICES = frozenset(
    {
        "AllocatePages",
        "FreePages",
        "GetMemoryMap",
        "AllocatePool",
        "FreePool",
        "HandleProtocol",
        "LocateHandle",
        "LocateDevicePath",
        "LocateProtocol",
        "InstallConfigurationTable",
        "ExitBootServices",
        "GetVariable",
    }
)
_MINIMAL_PROTOCOLS = frozenset(
    {
        guids.LOADED_IMAGE_PROTOCOL,
        guids.DEVICE_PATH_PROTOCOL,
        guids.LOAD_FILE2_PROTOCOL,
        guids.SIMPLE_TEXT_OUTPUT_PROTOCOL,
    }
)

PROFILES: Mapping[str, Profile] = MappingProxyType(
    {
        "minimal": Profile(
            "minimal",
            "what Debian's 6.1 kernel was measured to need up to ExitBootServices, and nothing more",
            _MINIMAL_SERVICES,
            _MINIMAL_PROTOCOLS,
            stays=False,
        ),
        "linux": Profile(
            "linux",
            "all of the boot services that are implemented, for kernels and small EFI programs",
            frozenset(BOOT_SERVICES_SLOTS + RUNTIME_SERVICES_SLOTS),
            _MINIMAL_PROTOCOLS
            | {
                guids.LOADED_IMAGE_DEVICE_PATH_PROTOCOL,
                guids.SIMPLE_TEXT_INPUT_PROTOCOL,
                guids.RNG_PROTOCOL,
                guids.SIMPLE_FILE_SYSTEM_PROTOCOL,
                guids.PVEFI_HYPERVISOR_INFORMATION,
            },
            stays=True,
        ),
    }
)
