# SPDX-License-Identifier: GPL-2.0-or-later
"""The runtime services, one module a section of UEFI 2.10 §8."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pvefi.efi.runtime import capsules, counts, reset, time, variables, virtual_memory
from pvefi.efi.service import Service, services_of

__all__ = ["REFUSING", "SERVICES"]

SERVICES: Mapping[str, Service[..., Any]] = MappingProxyType(
    services_of(variables, time, virtual_memory, counts, reset, capsules)
)
"""Every implemented runtime service by specification name."""
REFUSING = frozenset({"GetWakeupTime", "SetWakeupTime", "UpdateCapsule", "QueryCapsuleCapabilities"})
"""Those of them that never do what they are called for, and do no more than say why."""
