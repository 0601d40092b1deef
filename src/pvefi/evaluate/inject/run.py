# SPDX-License-Identifier: GPL-2.0-or-later
"""Tries every fault of a plan, as branches of one boot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pvefi.efi.environment import Environment
from pvefi.efi.intervention import Arrival, CallPlace
from pvefi.errors import UsageError
from pvefi.evaluate.branches import Branch, BranchEnd, Limits, explore
from pvefi.evaluate.inject.findings import Finding, finding, not_reached
from pvefi.evaluate.inject.plan import Injection, Plan
from pvefi.prepare import PreparedBoot
from pvefi.verdict import BootResult

__all__ = ["Trunk", "boot_trunk", "try_faults"]

_TIMEOUT = 300.0


@dataclass(frozen=True)
class Trunk:
    """The boot without faults, and what it is granted with one, in seconds of CPU time."""

    boot: BootResult
    limits: Limits


def boot_trunk(prepared: PreparedBoot, timeout: float | None = None) -> Trunk:
    """Boot without faults; `timeout` bounds every boot, None is by what this one takes.

    UsageError when the boot comes to no end by itself, MachineError when it cannot be carried out.
    """
    given = timeout or _TIMEOUT
    (result,) = explore(prepared, _nothing, 1, Limits(given, given))
    if result.boot is None:
        ended = "no end within its time" if result.end is BranchEnd.HUNG else result.why
        raise UsageError(
            f"{prepared.image.path}: expected a boot that ends without any fault, found {ended}",
            "pvefi boot --machine embedded shows it",
        )
    return Trunk(result.boot, Limits(given, given) if timeout else Limits.like(result))


def _nothing(_efi: Environment, _arrival: Arrival) -> Sequence[Branch]:
    return ()


def try_faults(prepared: PreparedBoot, trunk: Trunk, plan: Plan, jobs: int) -> Iterator[Finding]:
    """Try every fault of `plan`, `jobs` at once; yield each finding when it is there, in no order."""
    by_place: dict[CallPlace, list[Injection]] = {}
    for injection in plan.injections:
        by_place.setdefault(injection.place, []).append(injection)
    left = {str(injection.fault): injection for injection in plan.injections}
    for result in explore(prepared, _Parting(by_place), jobs, trunk.limits):
        if result.place is not None:
            yield finding(left.pop(result.name), result, trunk.boot)
    yield from (not_reached(injection) for injection in left.values())


@dataclass(frozen=True)
class _Parting:
    """Where the branches of a plan part."""

    by_place: Mapping[CallPlace, Sequence[Injection]]

    def __call__(self, _efi: Environment, arrival: Arrival) -> Sequence[Branch]:
        injections = self.by_place.get(arrival.place, ())
        return [Branch(str(injection.fault), (injection.fault,)) for injection in injections]
