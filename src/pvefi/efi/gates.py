# SPDX-License-Identifier: GPL-2.0-or-later
"""Gives every service a gate of its own in the guest, and tells which service rang."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from pvefi.efi.errors import EfiError
from pvefi.efi.service import Pointer, Service
from pvefi.guest.trampoline import Trampoline
from pvefi.spec.uefi.status import EfiStatus
from pvefi.trace.events import NOT_IMPLEMENTED

__all__ = ["Gates", "unimplemented"]


def unimplemented(name: str, spec: str, *, returns_status: bool = True) -> Service[..., None]:
    """Return a service without a body: it answers EFI_UNSUPPORTED and leaves its name in the trace."""

    def body(_efi: object, rcx: Pointer, rdx: Pointer, r8: Pointer, r9: Pointer) -> None:
        """Not implemented."""
        raise EfiError(EfiStatus.UNSUPPORTED, NOT_IMPLEMENTED)

    return Service(name, spec, body, returns_status)


class Gates:
    """The services of one environment by gate index, in the order in which their addresses were asked."""

    def __init__(self, trampoline: Trampoline) -> None:
        self._trampoline = trampoline
        self._services: list[Service[..., Any]] = []
        self._indices: dict[str, int] = {}

    @classmethod
    def given_out(cls, trampoline: Trampoline, services: Sequence[Service[..., Any]]) -> Self:
        """Return gates that were given out before, one for each of `services` in this order."""
        gates = cls(trampoline)
        for service in services:
            gates.address(service)
        return gates

    @property
    def services(self) -> tuple[Service[..., Any], ...]:
        """The services that have a gate, by index."""
        return tuple(self._services)

    def address(self, service: Service[..., Any]) -> int:
        """Return the guest physical address of `service`'s gate; IndexError when no gates are left."""
        index = self._indices.get(service.name)
        if index is None:
            index = self._indices[service.name] = len(self._services)
            self._services.append(service)
            service.parameters()  # worked out now, so that the guest's first call need not wait for it
        return self._trampoline.gate(index)

    def service(self, index: int) -> Service[..., Any] | None:
        """Return the service behind gate `index`, None when nobody was ever given that gate."""
        return self._services[index] if index < len(self._services) else None
