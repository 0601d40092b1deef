# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run says of the page's claims: only what its boots could show."""

from __future__ import annotations

import pytest

from pvefi.evaluate.minimise.claim import Claimed, against_page
from pvefi.evaluate.minimise.search import Found
from tests.evaluate.minimise.test_search import Image, needs, search


def claims(found: Found, *, to_user_space: bool) -> dict[str, Claimed]:
    return {one.thing: one for one in against_page(found, to_user_space=to_user_space)}


@pytest.fixture
def found() -> Found:
    """Return what is found of an image that needs two services."""
    return search(Image(needs("GetMemoryMap", "AllocatePages")))


def test_what_is_needed_bears_its_claim_out(found: Found) -> None:
    told = claims(found, to_user_space=False)
    assert (told["GetMemoryMap"].holds, told["AllocatePages"].holds) == (True, None)
    assert told["GetMemoryMap"].found == "needed: without it the goal is not reached"


@pytest.mark.parametrize("name", ["GetTime", "SetTime", "SetVirtualAddressMap", "ResetSystem"])
def test_a_runtime_service_is_not_judged_by_boots_that_ended_before_its_time(found: Found, name: str) -> None:
    early, late = (claims(found, to_user_space=whole)[name] for whole in (False, True))
    assert early.holds is None
    assert early.found.startswith("not measured")
    assert late.holds is True


def test_what_is_kept_for_what_it_gives_is_not_called_needed() -> None:
    def used(lost: frozenset[str]) -> tuple[str, ...]:
        return ("GetMemoryMap",) if "GetVariable" in lost else ("GetMemoryMap", "GetVariable")

    told = claims(search(Image(needs("GetMemoryMap"), used), strict=True), to_user_space=True)
    assert told["GetVariable"].found.startswith("kept, because without it the goal is reached, but: ")
