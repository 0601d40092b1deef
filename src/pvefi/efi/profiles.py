# SPDX-License-Identifier: GPL-2.0-or-later
"""Profiles: which services and protocols an environment offers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from pvefi.layout import Guid
from pvefi.spec.uefi import guids
from pvefi.spec.uefi.status import EfiStatus
from pvefi.spec.uefi.tables import BOOT_SERVICES_SLOTS, RUNTIME_SERVICES_SLOTS

__all__ = ["PROFILES", "PROTOCOLS", "SERVICES", "Profile"]

SERVICES = frozenset(BOOT_SERVICES_SLOTS + RUNTIME_SERVICES_SLOTS)
"""The names of all slots of the two services tables."""
PROTOCOLS = frozenset(
    {
        guids.LOADED_IMAGE_PROTOCOL,
        guids.LOADED_IMAGE_DEVICE_PATH_PROTOCOL,
        guids.DEVICE_PATH_PROTOCOL,
        guids.LOAD_FILE2_PROTOCOL,
        guids.SIMPLE_TEXT_INPUT_PROTOCOL,
        guids.SIMPLE_TEXT_OUTPUT_PROTOCOL,
        guids.RNG_PROTOCOL,
        guids.SIMPLE_FILE_SYSTEM_PROTOCOL,
        guids.PVEFI_HYPERVISOR_INFORMATION,
    }
)
"""The protocols that an environment can have."""
_LONGEST_NAME, _LONGEST_PURPOSE = 64, 400  # characters
_REFUSED_AT_MOST = 256


@dataclass(frozen=True)
class Profile:
    """What an environment offers.

    `services` are names of slots of the two tables; functions of an offered protocol are always offered.
    With `stays`, gates, mailbox and tables lie in runtime memory and outlive boot services; without,
    nothing of pvefi stays in the guest, and runtime slots then lead to a stub that needs no host.

    `service_refusals` and `protocol_refusals` name the status that something outside answers with. A service
    without one answers EFI_UNSUPPORTED. A protocol without one is not there, which is EFI_NOT_FOUND where it
    is searched and EFI_UNSUPPORTED where a handle is asked for it. A console's protocol outside has no
    interface in the system table; with a refusal it has one, whose functions answer with that.

    `file` is where it was read from, empty for pvefi's own.

    ValueError for a service or protocol that no environment has, a refusal of something that is offered, one
    by a status that is no error, and texts that are too long.
    """

    name: str
    purpose: str
    services: frozenset[str]
    protocols: frozenset[Guid]
    stays: bool
    service_refusals: tuple[tuple[str, EfiStatus], ...] = ()
    protocol_refusals: tuple[tuple[Guid, EfiStatus], ...] = ()
    file: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        """Refuse what no profile can be."""
        if not 0 < len(self.name) <= _LONGEST_NAME or not self.name.isprintable():
            raise ValueError(f"a profile's name has 1 to {_LONGEST_NAME} printable characters")
        if len(self.purpose) > _LONGEST_PURPOSE or not self.purpose.isprintable():
            raise ValueError(f"a profile's purpose has at most {_LONGEST_PURPOSE} printable characters")
        if odd := sorted((self.services | dict(self.service_refusals).keys()) - SERVICES):
            raise ValueError(f"there is no service {odd[0]:.{_LONGEST_NAME}}")
        if missing := sorted(self.protocols - PROTOCOLS):
            raise ValueError(f"no environment has the protocol {missing[0]}")
        refusals = (*self.service_refusals, *self.protocol_refusals)
        if len(refusals) > _REFUSED_AT_MOST or len({what for what, _ in refusals}) < len(refusals):
            raise ValueError(f"a profile has at most {_REFUSED_AT_MOST} refusals, each of something else")
        for what, status in refusals:
            if what in self.services or what in self.protocols:
                raise ValueError(f"{what} is offered, and refused")
            if not status.is_error or not status.known:
                raise ValueError(f"{what} is refused with {status.efi_name}, which is no error")

    @property
    def word(self) -> str:
        """What names the profile on a command line."""
        return self.file or self.name

    def refusal(self, service: str) -> EfiStatus:
        """Return what a service outside answers with."""
        return dict(self.service_refusals).get(service, EfiStatus.UNSUPPORTED)

    def protocol_refusal(self, protocol: Guid, otherwise: EfiStatus) -> EfiStatus:
        """Return what a question for a protocol that is not there is answered with."""
        return dict(self.protocol_refusals).get(protocol, otherwise)

    def has_interface(self, protocol: Guid) -> bool:
        """Whether a console's protocol has an interface in the system table, be it one that refuses."""
        return protocol in self.protocols or protocol in dict(self.protocol_refusals)


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
            SERVICES,
            PROTOCOLS,
            stays=True,
        ),
    }
)
