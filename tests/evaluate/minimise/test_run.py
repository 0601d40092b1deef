# SPDX-License-Identifier: GPL-2.0-or-later
"""Whole runs, of programs whose needs are known and of a real kernel."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pvefi.boot import Observer, boot
from pvefi.efi.profiles import PROFILES, Profile
from pvefi.errors import UsageError
from pvefi.evaluate.minimise.document import Experiment, profile_document
from pvefi.evaluate.minimise.goal import parse_goal
from pvefi.evaluate.minimise.losses import Loss, offered, refusals_of, without
from pvefi.evaluate.minimise.run import Wish, minimise
from pvefi.evaluate.minimise.search import Effect, NotReached
from pvefi.machines.embedded import EmbeddedMachine
from pvefi.prepare import BootOptions, prepare
from pvefi.profile_file import profile_from_json
from pvefi.report.json_node import Node
from pvefi.spec.uefi.status import EfiStatus
from pvefi.verdict import BootResult, Outcome
from tests.conftest import RealFiles
from tests.evaluate.minimise import programs
from tests.test_boot import MIB

Run = Callable[..., Experiment]


def silent(_what: str, _done: int, _of: int) -> None:
    pass


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def of(image: bytes, **wish: Any) -> Experiment:
        path = tmp_path / "test.efi"
        path.write_bytes(image)
        given: dict[str, Any] = {"confirms": False, "memory_size": 64 * MIB, "timeout": 30.0, "jobs": 2}
        return minimise(Wish(path, PROFILES["linux"], **(given | wish)), silent)

    return of


def booted(image: Path, profile: Profile, **options: Any) -> BootResult:
    given = BootOptions(image, EmbeddedMachine(), profile=profile, seed=0, timeout=60.0, **options)
    return boot(prepare(given), Observer(lambda _: None, lambda _: None, lambda _: None))


@pytest.mark.parametrize(
    ("image", "needed"),
    [
        (programs.FALLS_BACK, [("AllocatePool",), ("AllocatePages",)]),
        (programs.EITHER, [("AllocatePages",), ("AllocatePool",)]),
        (programs.BOTH, [("AllocatePages", "AllocatePool")]),
        (programs.PARTICULAR, [()]),
    ],
    ids=["falls-back", "either", "both", "particular"],
)
def test_a_program_needs_what_it_was_built_to_need(
    run: Run, image: bytes, needed: list[tuple[str, ...]], tmp_path: Path
) -> None:
    made = run(image)
    assert made.found.needed in needed
    assert (
        booted(tmp_path / "test.efi", made.profile, memory_size=64 * MIB).verdict.status == EfiStatus.SUCCESS
    )


def test_the_refusal_that_a_program_takes_is_the_profile_s(run: Run) -> None:
    assert run(programs.PARTICULAR).profile.refusal("SetWatchdogTimer") == EfiStatus.NOT_FOUND


def test_a_goal_may_be_another_status(run: Run) -> None:
    made = run(programs.FAILS, wanted=parse_goal("exit=EFI_ABORTED"))
    assert made.found.needed == ()
    with pytest.raises(NotReached, match="ended with EFI_ABORTED"):
        run(programs.FAILS)


def test_a_program_has_no_hand_off_to_reach(run: Run) -> None:
    with pytest.raises(UsageError, match="expected a kernel for the goal handoff"):
        run(programs.BOTH, wanted=parse_goal("handoff"))


@pytest.mark.parametrize("image", [programs.EITHER, programs.FALLS_BACK], ids=["either", "falls-back"])
def test_branches_and_whole_boots_find_the_same(run: Run, image: bytes) -> None:
    made, again = run(image), run(image, whole_boots=True)
    assert findings(made) == findings(again)


def findings(made: Experiment) -> object:
    found = made.found
    trials = [replace(one, seconds=0.0, how=without_addresses(one.how)) for one in found.trials]
    final = without_addresses(found.final.how)
    return trials, found.uses, found.unused, found.losses, found.degraded, final


def without_addresses(text: str) -> str:
    """Return how a boot ended, whatever handles it had: one that never had a protocol has fewer of them."""
    return re.sub(r"0x[0-9a-f]+", "0x", text)


# ---------------------------------------------------------------- a real kernel


@pytest.fixture(scope="module")
def kernel(corpus: RealFiles) -> Path:
    return corpus.file("cloud", "boot/vmlinuz-*")


@pytest.fixture(scope="module")
def of_kernel(kernel: Path) -> Experiment:
    return minimise(Wish(kernel, PROFILES["linux"], jobs=2, confirms=False), silent)


def test_a_kernel_needs_the_two_services_of_the_page_and_more(of_kernel: Experiment) -> None:
    needed = of_kernel.found.needed
    assert {"GetMemoryMap", "ExitBootServices", "AllocatePages", "LOADED_IMAGE_PROTOCOL"} <= {*needed}
    assert not {"GetTime", "SetVirtualAddressMap", "GetVariable", "Exit"} & {*needed}
    assert dict(of_kernel.found.uses).keys() >= {*needed}


def test_what_a_kernel_does_without_is_told(of_kernel: Experiment) -> None:
    told = {(one.loss.thing, one.loss.status): one for one in of_kernel.found.trials if one.alone}
    random = told["RNG_PROTOCOL", EfiStatus.NOT_FOUND]
    assert random.effect is Effect.DEGRADED
    assert any("LINUX_RANDOM_SEED" in line for line in random.differences)
    refused = told["LocateDevicePath", EfiStatus.NOT_FOUND]
    assert (refused.effect, "without its initial ramdisk" in refused.how) == (Effect.FAILED, True)


def test_with_the_profile_that_was_found_the_kernel_reaches_its_hand_off(
    of_kernel: Experiment, kernel: Path
) -> None:
    profile = profile_from_json(Node(profile_document(of_kernel), "the profile"))
    result = booted(kernel, profile)
    assert result.verdict.outcome is Outcome.HANDOFF
    answered = {call.service for call in result.calls if call.status != EfiStatus.UNSUPPORTED}
    assert answered & {*offered(PROFILES["linux"])} <= {*offered(profile), "GetVariable"}


@pytest.mark.parametrize("thing", ["AllocatePool", "LOADED_IMAGE_PROTOCOL"])
def test_with_one_thing_less_it_does_not(of_kernel: Experiment, kernel: Path, thing: str) -> None:
    assert thing in of_kernel.found.needed
    for status in refusals_of(thing):
        less = without(of_kernel.profile, [Loss(thing, status)])
        assert booted(kernel, less).verdict.outcome is not Outcome.HANDOFF


@pytest.mark.full
def test_branches_and_whole_boots_of_a_kernel_find_the_same(of_kernel: Experiment, kernel: Path) -> None:
    again = minimise(Wish(kernel, PROFILES["linux"], jobs=2, confirms=False, whole_boots=True), silent)
    assert findings(of_kernel) == findings(again)
