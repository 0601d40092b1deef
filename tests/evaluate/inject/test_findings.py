# SPDX-License-Identifier: GPL-2.0-or-later
"""What of a boot with a fault is taken for which effect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from pvefi.efi.intervention import parse_fault
from pvefi.evaluate.branches import BranchEnd, BranchResult
from pvefi.evaluate.inject.findings import Effect, Finding, finding, not_reached
from pvefi.evaluate.inject.plan import Injection
from pvefi.spec.uefi.status import EfiStatus
from pvefi.trace.events import CallEvent
from pvefi.verdict import BootResult, Outcome, Verdict
from tests.report.made import result

FAULT = Injection(parse_fault("FreePool#1=EFI_INVALID_PARAMETER"), 1)
HANDOFF = Verdict(Outcome.HANDOFF, "the kernel proper has control")


def call(index: int, service: str, why: str = "", status: EfiStatus = EfiStatus.SUCCESS) -> CallEvent:
    return CallEvent(index, service, (), status, None, (), 0.0, None, why, 1)


INJECTED = call(1, "FreePool", "injected", EfiStatus.INVALID_PARAMETER)
AFTER = call(2, "Stall")


def boot(verdict: Verdict, calls: Sequence[CallEvent] = (INJECTED, AFTER)) -> BootResult:
    return replace(result(), verdict=verdict, calls=tuple(calls))


WITHOUT = boot(HANDOFF, (call(1, "FreePool"), AFTER))


def found(
    verdict: Verdict,
    calls: Sequence[CallEvent] = (INJECTED, AFTER),
    console: str = "",
    without: BootResult = WITHOUT,
) -> Finding:
    told = BranchResult("", FAULT.place, BranchEnd.ENDED, "", boot(verdict, calls), console, 1.5)
    return finding(FAULT, told, without)


@pytest.mark.parametrize(
    ("verdict", "effect"),
    [
        (HANDOFF, Effect.GOES_ON),
        (Verdict(Outcome.HANDOFF, "elsewhere"), Effect.GOES_ON),
        (Verdict(Outcome.EXITED, "ended", EfiStatus.LOAD_ERROR), Effect.FAILS),
        (Verdict(Outcome.EXITED, "ended", EfiStatus.SUCCESS), Effect.FAILS),
        (Verdict(Outcome.REBOOTED, "reset"), Effect.FAILS),
        (Verdict(Outcome.POWERED_OFF, "off"), Effect.FAILS),
        (Verdict(Outcome.BLOCKED, "waits"), Effect.HANGS),
        (Verdict(Outcome.TIMED_OUT, "no end"), Effect.HANGS),
        (Verdict(Outcome.FAULTED, "page fault"), Effect.CRASHES),
        (Verdict(Outcome.HALTED, "halted"), Effect.CRASHES),
        (Verdict(Outcome.BAD_REQUEST, "wild"), Effect.CRASHES),
        (Verdict(Outcome.DIED, "gone"), Effect.CRASHES),
    ],
)
def test_the_end_of_a_boot_decides_the_effect(verdict: Verdict, effect: Effect) -> None:
    assert found(verdict).effect is effect


def test_a_program_goes_on_when_it_ends_as_it_does_without_the_fault() -> None:
    without = boot(Verdict(Outcome.EXITED, "ended", EfiStatus.ABORTED), WITHOUT.calls)
    same = found(Verdict(Outcome.EXITED, "ended", EfiStatus.ABORTED), without=without)
    other = found(Verdict(Outcome.EXITED, "ended", EfiStatus.SUCCESS), without=without)
    assert (same.effect, other.effect) == (Effect.GOES_ON, Effect.FAILS)


def test_an_image_that_crashes_anyway_goes_on_when_it_crashes() -> None:
    crash = Verdict(Outcome.FAULTED, "page fault")
    assert found(crash, without=boot(crash, WITHOUT.calls)).effect is Effect.GOES_ON


def test_other_calls_after_the_fault_are_noticed_and_the_faults_own_status_is_not() -> None:
    assert not found(HANDOFF).differs
    assert found(HANDOFF, (INJECTED,)).differs
    assert found(HANDOFF, (INJECTED, call(2, "FreePool"))).differs
    assert found(HANDOFF, (INJECTED, call(2, "Stall", "", EfiStatus.UNSUPPORTED))).differs


def test_a_call_that_was_served_as_without_the_fault_is_no_effect() -> None:
    assert found(HANDOFF, WITHOUT.calls).effect is Effect.NO_EFFECT
    assert not_reached(FAULT).effect is Effect.NO_EFFECT


def test_the_last_line_that_says_anything_is_kept() -> None:
    assert found(HANDOFF, console="one\r\ntwo \r\n\r\n").said == "two"
    assert len(found(HANDOFF, console="x" * 10_000).said) == 200


@pytest.mark.parametrize(
    ("end", "effect"),
    [
        (BranchEnd.HUNG, Effect.HANGS),
        (BranchEnd.DIED, Effect.CRASHES),
        (BranchEnd.FAILED, Effect.NOT_TRIED),
    ],
)
def test_a_boot_without_a_result_is_judged_by_its_process(end: BranchEnd, effect: Effect) -> None:
    told = BranchResult("", FAULT.place, end, "why", None, "", 1.0)
    assert (finding(FAULT, told, WITHOUT).effect, finding(FAULT, told, WITHOUT).message) == (effect, "why")
