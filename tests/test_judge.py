# SPDX-License-Identifier: GPL-2.0-or-later
"""Verdicts: how a run's end is said in the user's words."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from pvefi.efi.environment import Environment, LoadedImage
from pvefi.judge import MemoryWish, judge
from pvefi.machines import Crashed, Died, Fault, Finished, Halted, Reached, Stop, TimedOut, Watchpoint
from pvefi.spec.uefi.status import EfiStatus
from pvefi.trace.events import CallEvent
from pvefi.verdict import Handoff, Outcome, Verdict
from tests.efi.boot.guest import FakeGuest
from tests.report.made import handoff

MIB = 1 << 20
ENOUGH = MemoryWish(64 * MIB, 64 * MIB)
AT = 0x100_1000


@cache
def efi() -> Environment:
    made = FakeGuest().efi
    made.images[1] = LoadedImage(1, "vmlinuz", 0x100_0000, 0x20_0000, AT)
    return made


def call(index: int, service: str, why: str = "", status: EfiStatus = EfiStatus.SUCCESS) -> CallEvent:
    return CallEvent(index, service, (), status, None, (), 1.0, None, why, 1)


def judged(
    stop: Stop,
    *calls: CallEvent,
    given: Handoff | None = None,
    environment: Environment | None = None,
    memory: MemoryWish = ENOUGH,
) -> Verdict:
    return judge(stop, given, calls, environment or efi(), memory)


def test_what_the_environment_decided_stands() -> None:
    decided = Verdict(Outcome.EXITED, "test.efi ended with EFI_SUCCESS", EfiStatus.SUCCESS)
    assert judged(Finished(decided)) == decided


def test_a_hand_off_names_the_place() -> None:
    verdict = judged(Reached(Watchpoint(0x200_0000, 1, lambda _: True, "startup_64")), given=handoff())
    assert verdict == Verdict(Outcome.HANDOFF, "the kernel proper has control at its startup_64, 0x2000000")


def test_a_fault_says_where_it_happened_and_for_which_address() -> None:
    verdict = judged(Fault("page fault", 14, 0x802010, AT))
    assert verdict.outcome is Outcome.FAULTED
    assert verdict.message == (
        "page fault at vmlinuz+0x1000 (0x1001000) for address .mailbox+0x10 (0x802010); it had called nothing"
    )


def test_a_fault_without_an_address_says_none() -> None:
    verdict = judged(Fault("invalid opcode", 6, None, 0x1234))
    assert verdict.message == "invalid opcode at 0x1234; it had called nothing"


def test_a_halt() -> None:
    verdict = judged(Halted(AT), call(1, "Stall"))
    assert verdict.outcome is Outcome.HALTED
    assert verdict.message == "the guest halted for good at vmlinuz+0x1000 (0x1001000); last call: 1 Stall"


@pytest.mark.parametrize(("seconds", "text"), [(0.25, "0.25"), (300.0, "300"), (1 / 3, "0.333")])
def test_a_time_out(seconds: float, text: str) -> None:
    verdict = judged(TimedOut(seconds, AT))
    assert verdict.outcome is Outcome.TIMED_OUT
    assert verdict.message.startswith(f"no end within {text} s, the guest was at vmlinuz+0x1000")


def test_the_last_refusal_is_told_with_the_last_call() -> None:
    calls = [
        call(1, "FreePool", "not a pool", EfiStatus.INVALID_PARAMETER),
        call(2, "LocateProtocol", "no handle has it", EfiStatus.NOT_FOUND),
        call(3, "Stall"),
    ]
    assert judged(Halted(AT), *calls).message.endswith(
        "; last call: 3 Stall; last refusal: 2 LocateProtocol, no handle has it"
    )


@pytest.mark.parametrize("status", [EfiStatus.BUFFER_TOO_SMALL, EfiStatus.NOT_READY])
def test_asking_for_a_size_and_polling_are_no_refusals(status: EfiStatus) -> None:
    calls = [call(1, "GetMemoryMap", "the map takes 960 bytes", status)]
    assert judged(Halted(AT), *calls).message.endswith("; last call: 1 GetMemoryMap")


def test_before_the_environment_exists_addresses_are_bare() -> None:
    verdict = judge(Fault("page fault", 14, 0, 0x810000), None, (), None, ENOUGH)
    assert verdict.message == "page fault at 0x810000 for address 0x0; it had called nothing"


LITTLE = MemoryWish(64 * MIB, 96 * MIB + 1)


@pytest.mark.parametrize(
    "stop",
    [
        Halted(AT),
        Fault("page fault", 14, 0, AT),
        TimedOut(1, AT),
        Finished(Verdict(Outcome.EXITED, "ended", EfiStatus.OUT_OF_RESOURCES)),
        Finished(Verdict(Outcome.BAD_REQUEST, "a wild pointer")),
    ],
    ids=lambda stop: type(stop).__name__,
)
def test_a_failure_with_too_little_memory_gives_the_hint(stop: Stop) -> None:
    message = judged(stop, memory=LITTLE).message
    assert message.endswith("; the guest has 64 MiB where this image wants 97: --memory 97M")
    assert "--memory" not in judged(stop).message


def test_a_success_gives_no_hint() -> None:
    success = Finished(Verdict(Outcome.EXITED, "ended", EfiStatus.SUCCESS))
    reached = Reached(Watchpoint(AT, 1, lambda _: True, "startup_64"))
    assert "--memory" not in judged(success, memory=LITTLE).message
    assert "--memory" not in judged(reached, given=handoff(), memory=LITTLE).message


def test_a_stop_that_nobody_knows_is_our_mistake() -> None:
    with pytest.raises(AssertionError, match="a stop that nobody judges"):
        judged(Finished("not a verdict"))


def test_an_image_in_another_s_range_is_named_by_the_smaller() -> None:
    environment = replace(efi(), images=dict(efi().images))
    environment.images[2] = replace(environment.images[1], handle=2, name="inner.efi", base=AT, size=0x100)
    assert "inner.efi+0x0" in judged(Halted(AT), environment=environment).message


def test_a_crash_is_the_guest_s_own_and_the_loss_of_its_machine_is_not() -> None:
    crashed = judge(Crashed("the domain has crashed"), None, None, None, MemoryWish(1, 0))
    assert (crashed.outcome, crashed.message) == (Outcome.FAULTED, "the domain has crashed")
    assert judge(Died("gone"), None, None, None, MemoryWish(1, 0)).outcome is Outcome.DIED
