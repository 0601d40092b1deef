# SPDX-License-Identifier: GPL-2.0-or-later
"""The boot services, one module a section of UEFI 2.10 §7."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pvefi.efi.boot import events, image, locate, memory, misc, protocols
from pvefi.efi.service import Service, services_of

__all__ = ["SERVICES"]

SERVICES: Mapping[str, Service[..., Any]] = MappingProxyType(
    services_of(memory, protocols, locate, events, image, misc)
)
"""Every implemented boot service by specification name."""
