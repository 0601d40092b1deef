# SPDX-License-Identifier: GPL-2.0-or-later
"""The search against images that are known, as oracles: what they use, and without what they get there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvefi.efi.profiles import PROFILES
from pvefi.evaluate.minimise.calls import Call
from pvefi.evaluate.minimise.losses import Loss, Losses, offered, refusals_of, things_of, without
from pvefi.evaluate.minimise.observed import Observed
from pvefi.evaluate.minimise.search import Effect, Found, NotReached, Search, smallest_profile
from pvefi.layout import Guid
from pvefi.spec.uefi import guids
from pvefi.spec.uefi.status import EfiStatus

SERVICES = ("AllocatePages", "GetMemoryMap", "AllocatePool", "FreePool", "CopyMem", "GetVariable", "GetTime")
PROFILE = replace(
    PROFILES["linux"],
    services=frozenset(SERVICES),
    protocols=frozenset({guids.RNG_PROTOCOL, guids.SIMPLE_TEXT_OUTPUT_PROTOCOL}),
)
RNG = "RNG_PROTOCOL"
USED = ("AllocatePages", "GetMemoryMap", "AllocatePool", "FreePool", "GetVariable", RNG)


class Image:
    """An image by its behaviour: `needs` says whether it gets there without all that is lost."""

    def __init__(
        self,
        gets_there: Callable[[Losses], bool],
        used: Callable[[frozenset[str]], Sequence[str]] = lambda lost: USED,
    ) -> None:
        self._gets_there = gets_there
        self._used = used
        self.boots: list[Losses] = []
        self.trunks = 0

    def run(self, trunk: Losses, variants: Sequence[Losses]) -> Iterator[tuple[Losses, Observed]]:
        self.trunks += 1
        for losses in (*variants, trunk):
            assert trunk <= losses
            self.boots.append(losses)
            calls = tuple(Call(name, "", frozenset({name})) for name in self._used(things_of(losses)))
            yield losses, Observed(self._gets_there(losses), "it ended", calls)


def search(image: Image, *, strict: bool = False) -> Found:
    return Search(image, PROFILE, strict=strict, tell=lambda what, done, of: None).run()


def needs(*things: str) -> Callable[[Losses], bool]:
    return lambda losses: not things_of(losses) & {*things}


def effects(found: Found, thing: str) -> dict[EfiStatus | None, Effect]:
    return {one.loss.status: one.effect for one in found.trials if one.loss.thing == thing and one.alone}


def test_what_is_needed_is_kept_and_nothing_else() -> None:
    found = search(Image(needs("AllocatePages", RNG)))
    assert found.needed == ("AllocatePages", RNG)
    assert found.unused == ("CopyMem", "GetTime", "SIMPLE_TEXT_OUTPUT_PROTOCOL")
    assert effects(found, "AllocatePages") == dict.fromkeys(refusals_of(RNG), Effect.FAILED)
    assert effects(found, "FreePool") == dict.fromkeys(refusals_of(RNG), Effect.NOTHING)
    assert things_of(found.losses) == {*offered(PROFILE)} - {"AllocatePages", RNG}


def test_each_is_tried_alone_with_both_refusals() -> None:
    image = Image(needs("AllocatePages"))
    search(image)
    alone = [losses for losses in image.boots if len(losses) == 1]
    expected = [frozenset({Loss(thing, status)}) for thing in USED for status in refusals_of(thing)]
    assert sorted(map(repr, alone)) == sorted(map(repr, expected))


def test_a_refusal_that_does_is_chosen_before_one_that_does_not() -> None:
    """As Linux, which takes EFI_NOT_FOUND for an answer and EFI_UNSUPPORTED for a failure."""
    bad = Loss("GetVariable", EfiStatus.UNSUPPORTED)
    found = search(Image(lambda losses: bad not in losses))
    assert Loss("GetVariable", EfiStatus.NOT_FOUND) in found.losses
    assert effects(found, "GetVariable") == {
        EfiStatus.UNSUPPORTED: Effect.FAILED,
        EfiStatus.NOT_FOUND: Effect.NOTHING,
    }


def test_the_refusal_that_degrades_least_is_chosen() -> None:
    odd = Loss(RNG, EfiStatus.UNSUPPORTED)

    class Degrading(Image):
        def run(self, trunk: Losses, variants: Sequence[Losses]) -> Iterator[tuple[Losses, Observed]]:
            for losses, seen in super().run(trunk, variants):
                more = (Call("Stall", "", frozenset()),) * (odd in losses)
                yield losses, replace(seen, calls=seen.calls + more)

    found = search(Degrading(needs()))
    assert Loss(RNG, EfiStatus.NOT_FOUND) in found.losses
    (trial,) = [one for one in found.trials if one.loss == odd]
    assert (trial.effect, trial.differences) == (Effect.DEGRADED, ("calls Stall once, not never",))


@pytest.mark.parametrize("strict", [False, True])
def test_what_degrades_is_kept_only_when_that_is_asked_for(strict: bool) -> None:
    found = search(
        Image(needs(), lambda lost: [one for one in USED if one != RNG or RNG not in lost]), strict=strict
    )
    assert found.needed == ((RNG,) if strict else ())
    assert bool(found.degraded) is not strict


def test_of_two_that_can_do_each_other_s_work_one_is_kept() -> None:
    def gets_there(losses: Losses) -> bool:
        return not {"AllocatePages", "AllocatePool"} <= things_of(losses)

    found = search(Image(gets_there))
    assert len(found.needed) == 1
    assert found.needed[0] in ("AllocatePages", "AllocatePool")


def test_what_is_only_called_when_another_one_fails_counts_as_its_substitute() -> None:
    def used(lost: frozenset[str]) -> list[str]:
        return ["AllocatePool", "GetTime"] if "AllocatePool" in lost else ["AllocatePool"]

    def gets_there(losses: Losses) -> bool:
        return not {"GetTime", "AllocatePool"} <= things_of(losses)

    found = search(Image(gets_there, used))
    assert found.needed == ("AllocatePool",)


def test_what_is_never_called_and_yet_missed_is_kept() -> None:
    """As a table's pointer that an image looks at, without a call."""
    found = search(Image(needs("SIMPLE_TEXT_OUTPUT_PROTOCOL", "GetMemoryMap")))
    assert found.needed == ("GetMemoryMap", "SIMPLE_TEXT_OUTPUT_PROTOCOL")


def test_what_can_go_once_another_is_gone_goes_in_the_end() -> None:
    """FreePool is missed only where AllocatePool works."""

    def gets_there(losses: Losses) -> bool:
        lost = things_of(losses)
        return "FreePool" not in lost or "AllocatePool" in lost

    found = search(Image(gets_there))
    assert found.needed == ()
    assert effects(found, "FreePool")[EfiStatus.NOT_FOUND] is Effect.FAILED


def test_an_image_that_gets_there_with_nothing_at_all_needs_nothing() -> None:
    assert search(Image(needs())).needed == ()


def test_one_that_does_not_get_there_with_everything_is_no_matter_for_a_search() -> None:
    with pytest.raises(NotReached, match="it ended"):
        search(Image(lambda losses: False))


@settings(max_examples=60)
@given(
    st.sets(st.frozensets(st.sampled_from(offered(PROFILE)), min_size=1, max_size=3), max_size=4),
    st.sets(st.tuples(st.sampled_from(USED), st.sampled_from(refusals_of(RNG))), max_size=3),
)
def test_nothing_of_the_result_can_be_taken_away_singly(
    missed: set[frozenset[str]], bad: set[tuple[str, EfiStatus]]
) -> None:
    """Whatever sets are missed when they are gone together, and whichever refusals are not taken."""
    refused = {Loss(*one) for one in bad}

    def gets_there(losses: Losses) -> bool:
        return not any(one <= things_of(losses) for one in missed) and not losses & refused

    found = search(Image(gets_there))
    assert gets_there(found.losses)
    for thing in found.needed:
        if thing in USED:
            assert not any(gets_there(found.losses | {Loss(thing, one)}) for one in refusals_of(thing))


def test_nothing_boots_twice_but_as_the_trunk_of_others() -> None:
    image = Image(needs("AllocatePages", RNG))
    search(image)
    assert len(image.boots) - len({*image.boots}) < image.trunks


def test_the_profile_offers_what_is_needed_and_refuses_as_was_tried() -> None:
    found = search(Image(lambda losses: Loss("GetVariable", EfiStatus.UNSUPPORTED) not in losses))
    profile = smallest_profile(PROFILE, found, "small", "")
    assert (profile.name, profile.services, profile.protocols) == ("small", frozenset(), frozenset[Guid]())
    assert profile.refusal("GetVariable") == EfiStatus.NOT_FOUND
    assert profile == replace(without(PROFILE, found.losses), name="small", purpose="")
