# SPDX-License-Identifier: GPL-2.0-or-later
"""Branches of one boot: the same as whole boots, bounded, and gone when nobody wants them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pvefi.boot import Observer, boot
from pvefi.efi.environment import Environment
from pvefi.efi.intervention import Arrival, parse_fault
from pvefi.errors import UsageError
from pvefi.evaluate.branches import Branch, BranchEnd, BranchResult, Limits, explore
from pvefi.machines.embedded import EmbeddedMachine
from pvefi.prepare import BootOptions, PreparedBoot, prepare
from pvefi.spec.uefi.memory import MemoryType
from pvefi.spec.uefi.status import EfiStatus
from pvefi.trace.events import CallEvent
from pvefi.verdict import BootResult, Outcome
from tests.conftest import RealFiles
from tests.leftovers import nothing_left
from tests.test_boot import BEGIN, END, LOOP, MIB, SCRATCH, UD2, call, load, program

LIMITS = Limits(20, 20)
SKIP_IF_GOOD = b"\x48\x85\xc0\x74"  # test %rax, %rax; je
ALLOCATE = call("AllocatePool", MemoryType.LOADER_DATA, 64, SCRATCH)


def unless(code: bytes) -> bytes:
    """Return code that executes `code` when the call before it has failed."""
    return SKIP_IF_GOOD + bytes([len(code)]) + code


# Allocates four times: it loops when the second fails, faults when the third does, and ignores the fourth.
FRAIL = program(
    BEGIN
    + ALLOCATE
    + unless(END)
    + ALLOCATE
    + unless(LOOP)
    + ALLOCATE
    + unless(UD2)
    + ALLOCATE
    + load(0, 0)
    + END
)

Made = Callable[..., PreparedBoot]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    def make(image: bytes = FRAIL, **options: Any) -> PreparedBoot:
        path = tmp_path / "test.efi"
        path.write_bytes(image)
        defaults: dict[str, Any] = {"machine": EmbeddedMachine(), "memory_size": 64 * MIB, "seed": 0}
        return prepare(BootOptions(image=path, **(defaults | options)))

    return make


def nobody(_efi: Environment, _arrival: Arrival) -> Sequence[Branch]:
    return ()


def faulty(*faults: str) -> Callable[[Environment, Arrival], Sequence[Branch]]:
    """Return what has a branch part for each of these faults."""
    parsed = [parse_fault(fault) for fault in faults]

    def parting(_efi: Environment, arrival: Arrival) -> Sequence[Branch]:
        return [Branch(str(fault), (fault,)) for fault in parsed if fault.meets(arrival.place)]

    return parting


def results(
    prepared: PreparedBoot, *faults: str, jobs: int = 2, limits: Limits = LIMITS
) -> dict[str, BranchResult]:
    return {result.name: result for result in explore(prepared, faulty(*faults), jobs, limits)}


def whole(prepared: PreparedBoot, fault: str = "") -> BootResult:
    """Boot by itself on the machine that users have."""
    faults = (parse_fault(fault),) if fault else ()
    options = replace(prepared.options, faults=faults, timeout=120.0)
    return boot(replace(prepared, options=options), Observer(lambda _: None, lambda _: None, lambda _: None))


def told(calls: Sequence[CallEvent]) -> list[CallEvent]:
    """Return calls without the time that they took."""
    return [replace(event, host_us=0.0) for event in calls]


def assert_same(branch: BranchResult, boot: BootResult) -> None:
    assert branch.boot is not None, branch
    assert branch.boot.verdict == boot.verdict
    assert told(branch.boot.calls) == told(boot.calls)
    assert branch.boot.handoff == boot.handoff


def test_a_trunk_without_branches_is_a_boot_as_any_other(made: Made) -> None:
    (trunk,) = explore(made(), nobody, 1, LIMITS)
    assert (trunk.name, trunk.place, trunk.end) == ("", None, BranchEnd.ENDED)
    assert_same(trunk, whole(made()))


@pytest.mark.parametrize("jobs", [1, 3])
def test_branches_end_as_whole_boots_with_the_same_fault_do(made: Made, jobs: int) -> None:
    faults = (
        "AllocatePool#1=EFI_OUT_OF_RESOURCES",
        "AllocatePool#1:exhausted",
        "AllocatePool#3=EFI_INVALID_PARAMETER",
        "AllocatePool#4=EFI_OUT_OF_RESOURCES",
    )
    found = results(made(), *faults, jobs=jobs)
    assert set(found) == {"", *faults}
    for fault in ("", *faults):
        assert_same(found[fault], whole(made(), fault))
    outcomes = [one.boot.verdict.outcome for fault in faults if (one := found[fault]).boot is not None]
    assert outcomes == [Outcome.EXITED, Outcome.EXITED, Outcome.FAULTED, Outcome.EXITED]


def test_each_call_has_its_branch_and_the_trunk_comes_last_unchanged(made: Made) -> None:
    fault = "AllocatePool=EFI_NOT_FOUND"
    *branches, trunk = explore(made(), faulty(fault), 1, Limits(20, 1))
    assert [str(one.place) for one in branches] == [f"AllocatePool#{call}" for call in (1, 2, 3, 4)]
    assert [one.name for one in (*branches, trunk)] == [fault] * 4 + [""]
    assert_same(trunk, whole(made()))


def test_a_branch_that_loops_is_ended_when_its_time_is_up_and_the_rest_is_told(made: Made) -> None:
    found = results(
        made(), "AllocatePool#2=EFI_NOT_FOUND", "AllocatePool#4=EFI_NOT_FOUND", limits=Limits(20, 1)
    )
    hung = found["AllocatePool#2=EFI_NOT_FOUND"]
    assert (hung.end, hung.boot, str(hung.place)) == (BranchEnd.HUNG, None, "AllocatePool#2")
    assert found["AllocatePool#4=EFI_NOT_FOUND"].end is found[""].end is BranchEnd.ENDED


def test_a_branch_that_waits_is_ended_by_the_clock(made: Made) -> None:
    def parting(_efi: Environment, arrival: Arrival) -> Sequence[Branch]:
        return [Branch("waits", change=lambda _: time.sleep(1000))] * (arrival.place.call == 2)

    found = {one.name: one for one in explore(made(), parting, 1, Limits(20, 0.1))}
    assert found["waits"].end is BranchEnd.HUNG


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_a_branch_whose_process_dies_says_by_what(made: Made, number: signal.Signals) -> None:
    def parting(_efi: Environment, arrival: Arrival) -> Sequence[Branch]:
        return [Branch("dies", change=lambda _: os.kill(os.getpid(), number))] * (arrival.place.call == 2)

    found = {one.name: one for one in explore(made(), parting, 1, LIMITS)}
    assert (found["dies"].end, found["dies"].why) == (
        BranchEnd.DIED,
        f"the emulator was ended by {number.name}",
    )
    assert found[""].end is BranchEnd.ENDED


def test_a_trunk_that_loops_or_dies_is_told_as_such(made: Made) -> None:
    (looping,) = explore(made(program(LOOP)), nobody, 1, Limits(1, 1))
    assert (looping.end, looping.boot, looping.place) == (BranchEnd.HUNG, None, None)

    def dies(_efi: Environment, _arrival: Arrival) -> Sequence[Branch]:
        os.kill(os.getpid(), signal.SIGBUS)
        return ()

    (dead,) = explore(made(), dies, 1, LIMITS)
    assert (dead.end, dead.why) == (BranchEnd.DIED, "the emulator was ended by SIGBUS")


def test_a_change_of_the_environment_is_the_branchs_alone(made: Made) -> None:
    def takes_all(efi: Environment) -> None:
        efi.pools.drain()
        efi.pages.take_all("test")

    def parting(_efi: Environment, arrival: Arrival) -> Sequence[Branch]:
        return [Branch(str(arrival.place), change=takes_all)]

    found = {one.name: one for one in explore(made(), parting, 2, Limits(20, 1))}
    first, trunk = found["AllocatePool#1"].boot, found[""].boot
    assert first is not None
    assert trunk is not None
    assert [event.status for event in first.calls] == [EfiStatus.OUT_OF_RESOURCES]
    assert [event.status for event in trunk.calls] == [EfiStatus.SUCCESS] * 4


def test_what_a_branch_writes_is_told_from_where_it_parted(made: Made) -> None:
    text = "Hi\0".encode("utf-16-le")
    say = load(0, SCRATCH) + load(1, int.from_bytes(text.ljust(8, b"\0"), "little")) + b"\x48\x89\x08"
    out = bytes.fromhex("488b4b40") + load(2, SCRATCH) + bytes.fromhex("ff5108")  # ConOut->OutputString
    found = results(
        made(program(BEGIN + say + out + out + out + load(0, 0) + END)), f"{OUTPUT}#3=EFI_DEVICE_ERROR"
    )
    assert found[""].console == "HiHiHi"
    assert found[f"{OUTPUT}#3=EFI_DEVICE_ERROR"].console == ""


OUTPUT = "EFI_SIMPLE_TEXT_OUTPUT_PROTOCOL.OutputString"


def test_nothing_is_left_behind_at_the_end_nor_when_nobody_listens_any_more(made: Made) -> None:
    with nothing_left():
        results(made(), "AllocatePool#1=EFI_NOT_FOUND")
    with nothing_left():
        running = explore(
            made(), faulty("AllocatePool#1=EFI_NOT_FOUND", "AllocatePool#2=EFI_NOT_FOUND"), 2, LIMITS
        )
        assert next(running).name == "AllocatePool#1=EFI_NOT_FOUND"
        running.close()  # with a branch that loops


def test_what_cannot_be_branched_is_refused(made: Made, tmp_path: Path) -> None:
    prepared = made()
    with pytest.raises(UsageError, match="expected no file of variables"):
        next(
            explore(
                replace(prepared, options=replace(prepared.options, variables=tmp_path)), nobody, 1, LIMITS
            )
        )


def test_a_trunk_that_cannot_be_raises_what_is_wrong(made: Made) -> None:
    prepared = made()
    huge = replace(prepared, options=replace(prepared.options, memory_size=1 << 60))
    with pytest.raises(UsageError, match="expected at most the host's"):
        list(explore(huge, nobody, 1, LIMITS))


def test_a_kernels_branches_are_the_same_as_whole_boots(corpus: RealFiles) -> None:
    prepared = prepare(BootOptions(corpus.kernel("cloud"), EmbeddedMachine(), seed=0))
    faults = ("AllocatePages#1:exhausted", "GetVariable#1:short-buffer", "ExitBootServices#1:stale-key")
    found = results(prepared, *faults, limits=Limits(120, 120))
    for fault in (faults[0], faults[2]):
        assert_same(found[fault], whole(prepared, fault))
    outcomes = [one.boot.verdict.outcome for fault in faults if (one := found[fault]).boot is not None]
    assert outcomes == [Outcome.EXITED, Outcome.HANDOFF, Outcome.HANDOFF]
