# SPDX-License-Identifier: GPL-2.0-or-later
"""What can be taken away from a profile: a service or a protocol, with what it then answers.

Both are told by their names, GetVariable and RNG_PROTOCOL, of which none is both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from pvefi.efi.intervention import WITHOUT_STATUS
from pvefi.efi.profiles import PROTOCOLS, SERVICES, Profile
from pvefi.layout import Guid
from pvefi.spec.uefi import guids
from pvefi.spec.uefi.status import EfiStatus
from pvefi.spec.uefi.tables import BOOT_SERVICES_SLOTS, RUNTIME_SERVICES_SLOTS

__all__ = [
    "PROTOCOL_NAMES",
    "REFUSALS",
    "Loss",
    "Losses",
    "offered",
    "refusals_of",
    "things_of",
    "unasked",
    "without",
]

REFUSALS = (EfiStatus.UNSUPPORTED, EfiStatus.NOT_FOUND)
"""What is tried for each service and each protocol."""
PROTOCOL_NAMES: Mapping[str, Guid] = MappingProxyType({guids.guid_name(guid): guid for guid in PROTOCOLS})
_CONSOLES = tuple(
    guids.guid_name(guid) for guid in (guids.SIMPLE_TEXT_INPUT_PROTOCOL, guids.SIMPLE_TEXT_OUTPUT_PROTOCOL)
)
_ORDER = (*BOOT_SERVICES_SLOTS, *RUNTIME_SERVICES_SLOTS, *sorted(PROTOCOL_NAMES))


@dataclass(frozen=True)
class Loss:
    """A service or protocol that is not offered; `status` is what it answers, None for what it has anyway."""

    thing: str
    status: EfiStatus | None = None


Losses = frozenset[Loss]
"""All that is taken away from a profile at once."""


def things_of(losses: Iterable[Loss]) -> frozenset[str]:
    """Return what is lost, whatever it answers."""
    return frozenset(loss.thing for loss in losses)


def refusals_of(thing: str) -> tuple[EfiStatus | None, ...]:
    """Return the statuses to try for a service or protocol: one that returns none has nothing to choose."""
    return (None,) if thing in WITHOUT_STATUS else REFUSALS


def unasked(things: Iterable[str]) -> Losses:
    """Return the losses of what nobody asked for.

    A console's functions refuse: who reaches them by the system table after all is to hear so.
    """
    return frozenset(Loss(one, EfiStatus.UNSUPPORTED if one in _CONSOLES else None) for one in things)


def offered(profile: Profile, losses: Iterable[Loss] = ()) -> tuple[str, ...]:
    """Return what a profile offers without these, services in their tables' order, then protocols."""
    lost = things_of(losses)
    there = profile.services | {guids.guid_name(guid) for guid in profile.protocols}
    return tuple(name for name in _ORDER if name in there and name not in lost)


def without(profile: Profile, losses: Iterable[Loss]) -> Profile:
    """Return the profile that offers none of what is lost."""
    told = sorted(losses, key=_key)
    services = {loss.thing for loss in told if loss.thing in SERVICES}
    protocols = {PROTOCOL_NAMES[loss.thing] for loss in told if loss.thing in PROTOCOL_NAMES}
    return replace(
        profile,
        services=profile.services - services,
        protocols=profile.protocols - protocols,
        service_refusals=profile.service_refusals
        + tuple((one.thing, one.status) for one in told if one.status is not None and one.thing in SERVICES),
        protocol_refusals=profile.protocol_refusals
        + tuple(
            (PROTOCOL_NAMES[one.thing], one.status)
            for one in told
            if one.status is not None and one.thing in PROTOCOL_NAMES
        ),
    )


def _key(loss: Loss) -> str:
    return loss.thing
