# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether a service may be called at all: by the phase of the boot, and by the profile."""

from __future__ import annotations

from types import MappingProxyType

from pvefi.efi.environment import Environment, Phase
from pvefi.efi.errors import EfiError
from pvefi.efi.profiles import SERVICES
from pvefi.spec.uefi import guids
from pvefi.spec.uefi.status import EfiStatus
from pvefi.spec.uefi.tables import RUNTIME_SERVICES_SLOTS
from pvefi.trace.events import OUTSIDE_PROFILE

__all__ = ["permit"]

_RUNTIME = frozenset(RUNTIME_SERVICES_SLOTS)
_CONSOLES = MappingProxyType(
    {
        "EFI_SIMPLE_TEXT_INPUT_PROTOCOL": guids.SIMPLE_TEXT_INPUT_PROTOCOL,
        "EFI_SIMPLE_TEXT_OUTPUT_PROTOCOL": guids.SIMPLE_TEXT_OUTPUT_PROTOCOL,
    }
)
"""Protocols whose functions the system table leads to, whether or not anybody looks for them."""


def permit(efi: Environment, service: str) -> None:
    """Refuse a service, by the name that its declaration has, which is not on offer now; EfiError."""
    if efi.phase is Phase.RUNTIME and service not in _RUNTIME:
        raise EfiError(EfiStatus.UNSUPPORTED, "boot services have ended")
    profile = efi.profile
    if service in SERVICES and service not in profile.services:
        raise EfiError(profile.refusal(service), f"{OUTSIDE_PROFILE} {profile.name}")
    console = _CONSOLES.get(service.partition(".")[0])
    if console is not None and console not in profile.protocols:
        raise efi.absent(console, EfiStatus.UNSUPPORTED)
