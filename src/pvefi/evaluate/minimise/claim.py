# SPDX-License-Identifier: GPL-2.0-or-later
"""What the Xen project's page of 2016 claimed that a minimal EFI needs, service by service.

https://kernelnewbies.org/KernelProjects/x86-xen-efi: GetMemoryMap() and ExitBootServices() are called
minimal, Exit() and the variable services a maybe, and the time services, SetVirtualAddressMap() and
ResetSystem() not needed. Of what else a run finds to be needed the page says nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from pvefi.evaluate.minimise.search import Effect, Found, Trial
from pvefi.spec.uefi.tables import RUNTIME_SERVICES_SLOTS

__all__ = ["CLAIMS", "SOURCE", "Claim", "Claimed", "against_page"]

SOURCE = "https://kernelnewbies.org/KernelProjects/x86-xen-efi"


class Claim(StrEnum):
    """What the page says of a service."""

    NEEDED = "needed"
    MAYBE = "maybe"
    NOT_NEEDED = "not needed"
    NOTHING = "not mentioned"


CLAIMS = (
    ("GetMemoryMap", Claim.NEEDED),
    ("ExitBootServices", Claim.NEEDED),
    ("Exit", Claim.MAYBE),
    ("GetVariable", Claim.MAYBE),
    ("GetNextVariableName", Claim.MAYBE),
    ("SetVariable", Claim.MAYBE),
    ("GetTime", Claim.NOT_NEEDED),
    ("SetTime", Claim.NOT_NEEDED),
    ("SetVirtualAddressMap", Claim.NOT_NEEDED),
    ("ResetSystem", Claim.NOT_NEEDED),
)


@dataclass(frozen=True)
class Claimed:
    """One service or protocol: the page's claim, what was found, and whether that bears the claim out.

    `holds` is None where the page claims nothing that could be right or wrong, or the run cannot tell.
    """

    thing: str
    claim: Claim
    found: str
    holds: bool | None


def against_page(found: Found, *, to_user_space: bool) -> Iterator[Claimed]:
    """Yield each service that the page speaks of, then what else is needed.

    Without `to_user_space` boots were ended before: a kernel calls runtime services only later.
    """
    for thing, claim in CLAIMS:
        if thing in RUNTIME_SERVICES_SLOTS and thing not in dict(found.uses) and not to_user_space:
            yield Claimed(thing, claim, "not measured: never called up to the goal, perhaps later", None)
            continue
        needed = _fails_without(thing, found)
        holds = {Claim.NEEDED: needed, Claim.NOT_NEEDED: not needed}.get(claim)
        yield Claimed(thing, claim, _found(thing, found), holds)
    spoken_of = {thing for thing, _ in CLAIMS}
    for thing in found.needed:
        if thing not in spoken_of:
            yield Claimed(thing, Claim.NOTHING, _found(thing, found), None)


def _fails_without(thing: str, found: Found) -> bool:
    """Whether a thing is needed, and not only kept because the image does less without it."""
    trials = [trial for trial in found.trials if trial.loss.thing == thing]
    return thing in found.needed and (not trials or any(one.effect is Effect.FAILED for one in trials))


def _found(thing: str, found: Found) -> str:
    trials = [trial for trial in found.trials if trial.loss.thing == thing]
    if thing in found.needed and not _fails_without(thing, found):
        return f"kept, because {_words(trials)}"
    if thing in found.needed:
        return "needed: without it the goal is not reached" if trials else "needed"
    if thing not in dict(found.uses):
        return "not needed: never called up to the goal"
    return f"not needed: {_words(trials)}"


def _words(trials: list[Trial]) -> str:
    if any(trial.effect is Effect.NOTHING for trial in trials):
        return "without it nothing changes"
    degraded = min((trial for trial in trials if trial.effect is Effect.DEGRADED), key=_count, default=None)
    if degraded is None:
        return "once others are gone, it can go"
    more = f" and {len(degraded.differences) - 1} more" if len(degraded.differences) > 1 else ""
    return f"without it the goal is reached, but: {degraded.differences[0]}{more}"


def _count(trial: Trial) -> int:
    return len(trial.differences)
