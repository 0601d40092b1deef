# SPDX-License-Identifier: GPL-2.0-or-later
"""What is tried with each call of a boot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pvefi.efi.intervention import SHORT_BUFFERS, CallPlace, Fault, FaultKind
from pvefi.spec.uefi.service_statuses import AT_RUNTIME_ALONE, SERVICE_STATUSES
from pvefi.spec.uefi.status import EfiStatus
from pvefi.trace.events import CallEvent
from pvefi.trace.show import select

__all__ = ["Injection", "Plan", "make_plan"]

_TAKES_MEMORY = frozenset(
    {"AllocatePages", "AllocatePool", "LocateHandleBuffer", "OpenProtocolInformation", "ProtocolsPerHandle"}
)
"""The services that take memory of the guest's for their caller."""


@dataclass(frozen=True)
class Injection:
    """One fault of one call of the boot; `index` is that call's number among all of them."""

    fault: Fault
    index: int

    @property
    def place(self) -> CallPlace:
        """The call that has the fault."""
        assert self.fault.call is not None, "an injection is of one call"
        return CallPlace(self.fault.service, self.fault.call)

    @property
    def what(self) -> str:
        """The fault without its place: a status, or what is done."""
        status = self.fault.status
        return status.efi_name if status is not None else self.fault.kind.value


@dataclass(frozen=True)
class Plan:
    """All that is tried. `left_out` is how many calls are not looked at because the boot makes so many."""

    injections: tuple[Injection, ...]
    left_out: int


def make_plan(calls: Sequence[CallEvent], calls_made: int, only: Sequence[str] = ()) -> Plan:
    """Return what to try with `calls`, those kept of the `calls_made`; `only` are globs of services.

    For each call that is every status which the specification allows for its service, but the one that the
    call had; a short buffer instead of EFI_BUFFER_TOO_SMALL, a stale key, and no memory, where they apply.
    """
    ordered = sorted(calls, key=lambda event: event.index)
    known = [event for at, event in enumerate(ordered, 1) if event.index == at]
    wanted = {event.index for event in select(known, only)}
    counts: Counter[str] = Counter()
    injections: list[Injection] = []
    runtime = False
    for event in known:
        counts[event.service] += 1
        if event.index in wanted:
            injections += [
                Injection(fault, event.index)
                for fault in _faults(event, counts[event.service], runtime=runtime)
            ]
        runtime = runtime or (event.service == "ExitBootServices" and event.status == EfiStatus.SUCCESS)
    return Plan(tuple(injections), calls_made - len(known))


def _faults(event: CallEvent, call: int, *, runtime: bool) -> Iterator[Fault]:
    service, succeeded = event.service, event.status == EfiStatus.SUCCESS
    for status in SERVICE_STATUSES.get(service, ()):
        if status == event.status or (not runtime and status in AT_RUNTIME_ALONE.get(service, ())):
            continue
        if status == EfiStatus.BUFFER_TOO_SMALL and service in SHORT_BUFFERS:
            if succeeded:
                yield Fault(service, call, FaultKind.SHORT_BUFFER)
            continue
        yield Fault(service, call, FaultKind.STATUS, status)
    if service in _TAKES_MEMORY and succeeded:
        yield Fault(service, call, FaultKind.EXHAUSTED)
    if service == "ExitBootServices" and succeeded:
        yield Fault(service, call, FaultKind.STALE_KEY)
