# SPDX-License-Identifier: GPL-2.0-or-later
"""What of EFI is on offer, worked out from the declarations: the source of docs/environment.md.

Nothing here runs in a boot. Every slot of the two services tables and every protocol function is one
`Offer`; a slot without a body is one, too, since its gate exists and answers EFI_UNSUPPORTED.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from pvefi.efi import boot, protocols, runtime
from pvefi.efi.profiles import PROFILES
from pvefi.efi.service import Service, services_of
from pvefi.layout import Guid
from pvefi.spec.uefi.guids import GUID_NAMES
from pvefi.spec.uefi.status import EfiStatus
from pvefi.spec.uefi.tables import BOOT_SERVICES_SLOTS, RESERVED_SLOT, RUNTIME_SERVICES_SLOTS, TableHeader

__all__ = ["Offer", "boot_services", "protocol_functions", "protocol_guid", "runtime_services", "statuses_of"]

# Where UEFI 2.10 has the services that may be without a body; the others bring their section themselves.
_SECTIONS: Mapping[str, str] = MappingProxyType(
    {
        RESERVED_SLOT: "UEFI 2.10 §4.4.1",
        "LoadImage": "UEFI 2.10 §7.4.1",
        "StartImage": "UEFI 2.10 §7.4.2",
        "UnloadImage": "UEFI 2.10 §7.4.3",
        "ConnectController": "UEFI 2.10 §7.3.12",
        "DisconnectController": "UEFI 2.10 §7.3.13",
    }
)
_REACHED_THROUGH: Mapping[str, str] = MappingProxyType({"FILE_PROTOCOL": "SIMPLE_FILE_SYSTEM_PROTOCOL"})
_STATUS = re.compile(r"(?<![\w`])[A-Z][A-Z0-9_]+(?![\w`])")


@dataclass(frozen=True)
class Offer:
    """One slot or protocol function.

    `offset` is the pointer's place in its table in bytes, None for protocol functions. `module` declares the
    body, '' where there is none. `profiles` are those that offer it; `purpose` is what it does, in a
    sentence, and `statuses` are the error and warning statuses that its declaration names.
    """

    name: str
    section: str
    offset: int | None
    module: str
    profiles: tuple[str, ...]
    purpose: str
    statuses: tuple[EfiStatus, ...]

    @property
    def implemented(self) -> bool:
        """Whether there is a body; else the slot answers EFI_UNSUPPORTED."""
        return bool(self.module)


def boot_services() -> tuple[Offer, ...]:
    """Return the slots of EFI_BOOT_SERVICES in the table's order."""
    return _slots(BOOT_SERVICES_SLOTS, boot.SERVICES)


def runtime_services() -> tuple[Offer, ...]:
    """Return the slots of EFI_RUNTIME_SERVICES in the table's order."""
    return _slots(RUNTIME_SERVICES_SLOTS, runtime.SERVICES)


def _slots(slots: tuple[str, ...], services: Mapping[str, Service[..., Any]]) -> tuple[Offer, ...]:
    return tuple(
        _offer(services[slot], offset, _profiles_with_service(slot))
        if slot in services
        else Offer(slot, _SECTIONS[slot], offset, "", (), "", (EfiStatus.UNSUPPORTED,))
        for offset, slot in zip(_offsets(), slots, strict=False)
    )


def _offsets() -> Iterator[int]:
    offset = TableHeader.SIZE
    while True:
        yield offset
        offset += 8


def _profiles_with_service(slot: str) -> tuple[str, ...]:
    offered = slot not in runtime.REFUSING
    return tuple(name for name, profile in PROFILES.items() if offered and slot in profile.services)


def protocol_functions() -> tuple[Offer, ...]:
    """Return the functions of every protocol that the environment produces, in the order of declaration."""
    offers = []
    for found in sorted(pkgutil.iter_modules(protocols.__path__), key=lambda found: found.name):
        module = importlib.import_module(f"{protocols.__name__}.{found.name}")
        for service in services_of(module).values():
            guid = protocol_guid(service.name)
            profiles = tuple(name for name, profile in PROFILES.items() if guid in profile.protocols)
            offers.append(_offer(service, None, profiles))
    return tuple(offers)


def protocol_guid(function: str) -> Guid:
    """Return the GUID of the protocol that `function` belongs to: EFI_RNG_PROTOCOL.GetRNG's is RNG_PROTOCOL.

    Files have no GUID: they are reached through a volume, which has one. KeyError where no GUID has the name.
    """
    by_name = {name: guid for guid, name in GUID_NAMES.items()}
    name = function.partition(".")[0].removeprefix("EFI_")
    return by_name[_REACHED_THROUGH.get(name, name)]


def _offer(service: Service[..., Any], offset: int | None, profiles: tuple[str, ...]) -> Offer:
    module = service.body.__module__
    return Offer(service.name, service.spec, offset, module, profiles, service.doc, statuses_of(service))


def statuses_of(service: Service[..., Any]) -> tuple[EfiStatus, ...]:
    """Return the statuses that a body's docstring names below its first line, in order, each once."""
    if not service.returns_status:
        return ()
    _, _, text = (inspect.getdoc(service.body) or "").partition("\n")
    names = dict.fromkeys(name for name in _STATUS.findall(text) if name in EfiStatus.__members__)
    return tuple(EfiStatus[name] for name in names)
