# SPDX-License-Identifier: GPL-2.0-or-later
"""The search: each thing that was used goes alone, then all that can go together with what was never used.

Where they cannot go together, delta debugging finds which have to stay. Then each thing that is left is
tried again, with the others gone, until nothing more can go: the result is minimal in that nothing of it can
be taken away singly, with any of the refusals that are tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from pvefi.efi.profiles import Profile
from pvefi.evaluate.minimise.calls import used
from pvefi.evaluate.minimise.experiments import Experiments
from pvefi.evaluate.minimise.losses import Loss, Losses, offered, refusals_of, things_of, unasked, without
from pvefi.evaluate.minimise.observed import Observed, differences, shortfall
from pvefi.evaluate.minimise.subsets import smallest

__all__ = ["Effect", "Found", "NotReached", "Search", "Trial", "smallest_profile"]


class Effect(StrEnum):
    """What a loss does to a boot."""

    NOTHING = "nothing"
    """The goal is reached, and nothing that is compared differs."""
    DEGRADED = "degraded"
    """The goal is reached, by other calls, with another hand-off, or with other words."""
    FAILED = "failed"
    """The goal is not reached."""


_ORDER = tuple(Effect)


@dataclass(frozen=True)
class Trial:
    """One thing taken away alone: what it answered, and what came of that.

    `alone` tells that nothing else was missing; else it was tried with all gone that was found to go by then.
    """

    loss: Loss
    effect: Effect
    how: str
    differences: tuple[str, ...]
    alone: bool
    seconds: float


@dataclass(frozen=True)
class Found:
    """What a search has found; `base` is the boot with everything.

    `uses` counts the calls of each service and protocol that it used, in the order of first use. `unused`
    are those offered that the image never asked for. `losses` is all that it does without, `needed` what
    is left, `final` the boot with that alone and `degraded` in what it differs. `boots` is how many ran.
    """

    base: Observed
    uses: tuple[tuple[str, int], ...]
    unused: tuple[str, ...]
    trials: tuple[Trial, ...]
    losses: Losses
    needed: tuple[str, ...]
    final: Observed
    degraded: tuple[str, ...]
    boots: int


class NotReached(Exception):
    """The image does not reach the goal with everything that there is; the text says how it ended."""


Tell = Callable[[str, int, int], None]
"""What is told of the progress: what is being tried, how many boots of it are done, and of how many."""


class Search:
    """One search for the smallest profile; `strict` keeps what the image degrades without."""

    def __init__(self, experiments: Experiments, profile: Profile, *, strict: bool, tell: Tell) -> None:
        self._experiments = experiments
        self._profile = profile
        self._strict = strict
        self._tell = tell
        self._known: dict[Losses, Observed] = {}
        self._boots = 0
        self._trials: list[Trial] = []

    def run(self) -> Found:
        """Search; NotReached when there is nothing to search, and errors as those of the experiments."""
        lost: Losses = frozenset()
        base = self._one("with everything", lost)
        if not base.reached:
            raise NotReached(base.how)
        uses = used(base.calls)
        unused = tuple(thing for thing in offered(self._profile) if thing not in uses)
        chosen = self._singles("each alone", lost, [one for one in offered(self._profile) if one in uses])
        spare, refused = unasked(unused), frozenset[str]()
        while chosen or spare:
            lost = self._together(lost, spare, chosen)
            there = used(self._known[lost].calls)
            left = offered(self._profile, lost)
            refused |= things_of(spare)  # those of it that are left could not go
            tried = [one for one in left if one in there or one in refused]
            chosen = self._singles("what is left", lost, tried)
            spare = unasked(one for one in left if one not in there and one not in refused)
        final = self._known[lost]
        return Found(
            base=base,
            uses=tuple((thing, count) for thing, count in uses.items() if thing in offered(self._profile)),
            unused=unused,
            trials=tuple(self._trials),
            losses=lost,
            needed=offered(self._profile, lost),
            final=final,
            degraded=differences(base, final),
            boots=self._boots,
        )

    def _singles(self, what: str, lost: Losses, things: Sequence[str]) -> tuple[Loss, ...]:
        """Take away each thing alone, with each refusal; return how to take away each that can go."""
        variants = _variants(lost, things)
        self._try(what, lost, variants)
        trials = [self._trial(lost, variant) for variant in variants]
        self._trials += trials
        chosen = []
        for thing in things:
            can = [one for one in trials if one.loss.thing == thing and self._does(lost | {one.loss})]
            if can:
                chosen.append(min(can, key=_least).loss)
        return tuple(chosen)

    def _together(self, lost: Losses, spare: Losses, chosen: tuple[Loss, ...]) -> Losses:
        """Return `lost` with `spare`, which is never used, and as many of `chosen` as can go together."""
        everything = lost | spare | frozenset(chosen)
        # When they can, the next thing to know is what else can go: that boot is the trunk for it.
        self._try("all together", everything, _variants(everything, offered(self._profile, everything)))
        if self._does(everything):
            return everything
        self._try("what is never used", lost | spare, [])
        if self._does(lost | spare):
            lost |= spare
        else:  # somebody finds out by other means than a call for it
            chosen = (*chosen, *sorted(spare, key=_name))

        def pass_without(kept: Sequence[frozenset[Loss]]) -> list[bool]:
            sets = [lost | (frozenset(chosen) - one) for one in kept]
            self._try("which of them together", lost, sets)
            return [self._does(one) for one in sets]

        kept = smallest(chosen, pass_without)
        return lost | (frozenset(chosen) - frozenset(kept))

    def _one(self, what: str, losses: Losses) -> Observed:
        self._try(what, losses, [])
        return self._known[losses]

    def _try(self, what: str, trunk: Losses, variants: Iterable[Losses]) -> None:
        """Boot what is not known yet."""
        new = [one for one in dict.fromkeys(variants) if one not in self._known and one != trunk]
        if not new and trunk in self._known:
            return
        done, of = 0, len(new) + 1
        self._tell(what, done, of)
        for losses, seen in self._experiments.run(trunk, new):
            self._known.setdefault(losses, seen)
            done += 1
            self._tell(what, done, of)
        self._boots += of

    def _does(self, losses: Losses) -> bool:
        """Whether the image does without these, as far as is asked of it."""
        seen = self._known[losses]
        base = self._known[frozenset()]
        return not shortfall(base, seen) and not (self._strict and differences(base, seen))

    def _trial(self, lost: Losses, variant: Losses) -> Trial:
        (loss,) = variant - lost
        seen = self._known[variant]
        if short := shortfall(self._known[frozenset()], seen):
            return Trial(loss, Effect.FAILED, short, (), not lost, seen.seconds)
        told = differences(self._known[lost], seen)
        effect = Effect.DEGRADED if told else Effect.NOTHING
        return Trial(loss, effect, seen.how, told, not lost, seen.seconds)


def _variants(lost: Losses, things: Sequence[str]) -> list[Losses]:
    """Return `lost` with each of `things` besides, with each refusal that it can have."""
    return [lost | {Loss(thing, status)} for thing in things for status in refusals_of(thing)]


def _name(loss: Loss) -> str:
    return loss.thing


def _least(trial: Trial) -> tuple[int, int]:
    """Order by how little a loss does; of those that do as little, the first tried goes first."""
    return _ORDER.index(trial.effect), len(trial.differences)


def smallest_profile(profile: Profile, found: Found, name: str, purpose: str) -> Profile:
    """Return the profile that offers what was found to be needed, and refuses the rest as was tried."""
    return replace(without(profile, found.losses), name=name, purpose=purpose, file="")
