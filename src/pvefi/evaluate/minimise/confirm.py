# SPDX-License-Identifier: GPL-2.0-or-later
"""Tries on QEMU what was found on the embedded machine: the profile, and each loss that degrades alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pvefi.efi.profiles import Profile
from pvefi.errors import MachineError, UsageError
from pvefi.evaluate.engines.engine import Engine
from pvefi.evaluate.minimise.experiments import WholeBoots
from pvefi.evaluate.minimise.goal import Reach, Wanted
from pvefi.evaluate.minimise.losses import Loss, Losses
from pvefi.evaluate.minimise.observed import Observed, differences, shortfall
from pvefi.evaluate.minimise.search import Effect, Found, Trial
from pvefi.evaluate.task import Task, TaskKind

__all__ = ["Confirmation", "confirm", "unconfirmed"]


@dataclass(frozen=True)
class Confirmation:
    """What QEMU says: `confirmed` is None where nothing was tried, and `why` then says why not.

    `degraded` are the differences of the profile's boot from the one with everything, the kernel's messages
    among them; `trials` the same for each loss that was tried alone.
    """

    confirmed: bool | None
    why: str
    degraded: tuple[str, ...] = ()
    trials: Mapping[Loss, Trial] = field(default_factory=dict)


def unconfirmed(why: str) -> Confirmation:
    """Return that nothing was tried, and why."""
    return Confirmation(None, why)


def confirm(
    found: Found,
    task: Task,
    files: Mapping[str, Path],
    base: Profile,
    wanted: Wanted,
    engine: Engine,
    tell: Callable[[str, int, int], None],
) -> Confirmation:
    """Boot on QEMU what `found` says; `task` is a boot of the image with everything, on any machine.

    A kernel goes on to user space, with pvefi's own first process, so that its messages can be compared; its
    time is counted in instructions there, so that they do not differ by what the host does besides.
    Without QEMU nothing is tried.
    """
    on_qemu = replace(task, machine="qemu", kind=TaskKind.HANDOFF, repetition=0)
    try:
        if wanted.reach is Reach.EXIT:
            return _confirm(found, WholeBoots(on_qemu, files, base, wanted, engine), tell)
        if wanted.reach is Reach.HANDOFF:
            final = _boots(WholeBoots(on_qemu, files, base, wanted, engine), [found.losses], tell, "hand-off")
            if short := shortfall(final[frozenset()], final[found.losses]):
                return Confirmation(False, f"on QEMU: {short}")
        facts = replace(on_qemu, kind=TaskKind.COUNT, initrd=None)
        user_space = Wanted(Reach.USERSPACE)
        told = _confirm(found, WholeBoots(facts, files, base, user_space, engine), tell)
        if wanted.reach is Reach.HANDOFF and told.confirmed is False:
            degraded = (f"user space is not reached: {told.why}",)
            return replace(told, confirmed=True, why="the hand-off is reached", degraded=degraded)
        return told
    except (MachineError, UsageError) as error:
        return unconfirmed(str(error))


def _boots(
    boots: WholeBoots, losses: Sequence[Losses], tell: Callable[[str, int, int], None], what: str
) -> dict[Losses, Observed]:
    seen: dict[Losses, Observed] = {}
    of = len({frozenset(), *losses})
    for one, result in boots.run(frozenset(), [one for one in losses if one]):
        seen[one] = result
        tell(f"on QEMU: {what}", len(seen), of)
    return seen


def _confirm(found: Found, boots: WholeBoots, tell: Callable[[str, int, int], None]) -> Confirmation:
    alone = [one for one in found.trials if one.alone and one.effect is Effect.DEGRADED]
    losses: list[Losses] = [found.losses, *(frozenset({one.loss}) for one in alone)]
    seen = _boots(boots, losses, tell, "the whole way")
    base, final = seen[frozenset()], seen[found.losses]
    if not base.reached:
        return unconfirmed(f"with everything the image does not get there on QEMU: {base.how}")
    trials = {one.loss: _trial(one.loss, base, seen[frozenset({one.loss})]) for one in alone}
    if short := shortfall(base, final):
        return Confirmation(False, f"on QEMU: {short}", (), trials)
    return Confirmation(True, final.how, differences(base, final), trials)


def _trial(loss: Loss, base: Observed, seen: Observed) -> Trial:
    if short := shortfall(base, seen):
        return Trial(loss, Effect.FAILED, short, (), True, seen.seconds)
    told = differences(base, seen)
    return Trial(
        loss, Effect.DEGRADED if told else Effect.NOTHING, seen.how, told, alone=True, seconds=seen.seconds
    )
