# SPDX-License-Identifier: GPL-2.0-or-later
"""What of an environment a call is about: its service, and the protocol that it names or belongs to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pvefi.efi.errors import EfiError
from pvefi.efi.intervention import Arrival
from pvefi.efi.profiles import SERVICES
from pvefi.errors import GuestFault
from pvefi.evaluate.minimise.losses import PROTOCOL_NAMES
from pvefi.spec.uefi import guids
from pvefi.spec.uefi.handles import LocateSearchType
from pvefi.trace.values import Json, value_to_json

__all__ = ["Call", "call_of", "things_at", "used"]

_ASKS = frozenset(
    {
        "HandleProtocol",
        "OpenProtocol",
        "CloseProtocol",
        "OpenProtocolInformation",
        "LocateProtocol",
        "LocateHandle",
        "LocateHandleBuffer",
        "LocateDevicePath",
    }
)
"""The services that look for a protocol by its GUID; those that install one are no question for it."""
_OUTPUT = "EFI_SIMPLE_TEXT_OUTPUT_PROTOCOL.OutputString"
_FUNCTIONS: Mapping[str, str] = MappingProxyType(
    {f"EFI_{name}": name for name in PROTOCOL_NAMES}
    | {"EFI_FILE_PROTOCOL": guids.guid_name(guids.SIMPLE_FILE_SYSTEM_PROTOCOL)}
)
_SUBJECT_SHOWN = 80  # characters


@dataclass(frozen=True)
class Call:
    """One call of a boot; `subject` is the protocol or variable that it is about, empty for none.

    `things` are the services and protocols that it takes to be answered. `said` is what it wrote on the
    console.
    """

    service: str
    subject: str
    things: frozenset[str]
    said: str = ""


def call_of(line: Mapping[str, Json]) -> Call:
    """Return the call that a line of a trace tells of."""
    service, arguments = str(line.get("service")), _pairs(line.get("arguments"))
    subject, said = "", ""
    for name, value in arguments:
        if isinstance(value, dict) and "guid" in value:
            subject = subject or str(value.get("name") or value["guid"])
        elif name == "VariableName" and isinstance(value, str):
            subject = value
        elif service == _OUTPUT and isinstance(value, str) and line.get("status") == "EFI_SUCCESS":
            said = value
    return Call(service, subject[:_SUBJECT_SHOWN], _things(service, arguments), said)


def things_at(arrival: Arrival) -> frozenset[str]:
    """Return the services and protocols that a call takes which is about to be served."""
    service = arrival.service
    try:
        values = service.traced(service.decode(arrival.arguments))
    except (EfiError, GuestFault):
        values = ()
    return _things(service.name, [(name, value_to_json(value)) for name, value in values])


def used(calls: Iterable[Call]) -> dict[str, int]:
    """Return how often each service and protocol was used, in the order of first use."""
    counts: dict[str, int] = {}
    for call in calls:
        for thing in sorted(call.things, key=_services_first):
            counts[thing] = counts.get(thing, 0) + 1
    return counts


def _services_first(thing: str) -> tuple[bool, str]:
    return thing not in SERVICES, thing


def _pairs(arguments: Json) -> list[tuple[str, Json]]:
    if isinstance(arguments, dict):
        return list(arguments.items())
    pairs = arguments if isinstance(arguments, list) else []
    return [(str(one[0]), one[1]) for one in pairs if isinstance(one, list) and len(one) == 2]


def _things(service: str, arguments: Iterable[tuple[str, Json]]) -> frozenset[str]:
    found = {service} if service in SERVICES else set()
    if function := _FUNCTIONS.get(service.partition(".")[0]):
        found.add(function)
    if service == "ProtocolsPerHandle":
        found |= PROTOCOL_NAMES.keys()
    if service == "LocateDevicePath":
        found.add(guids.guid_name(guids.DEVICE_PATH_PROTOCOL))
    for _, value in arguments:
        if not isinstance(value, dict):
            continue
        if service in _ASKS and value.get("name") in PROTOCOL_NAMES and "guid" in value:
            found.add(str(value["name"]))
        every = value.get("enum") == "LocateSearchType" and value.get("value") == LocateSearchType.ALL_HANDLES
        if every:
            found |= PROTOCOL_NAMES.keys()
    return frozenset(found)
