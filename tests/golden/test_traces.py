# SPDX-License-Identifier: GPL-2.0-or-later
"""Golden traces notice what a boot asks for, and not where things lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from pvefi.spec.uefi import guids
from pvefi.spec.uefi.memory import AllocateType
from pvefi.spec.uefi.status import EfiStatus
from pvefi.trace.events import Address, CallEvent, Value
from tests.golden.traces import Golden, normal_form

SUCCESS, NOT_FOUND = EfiStatus.SUCCESS, EfiStatus.NOT_FOUND


def call(service: str, status: EfiStatus | None, *arguments: Value, depth: int = 1) -> CallEvent:
    named = tuple((f"Argument{at}", value) for at, value in enumerate(arguments))
    return CallEvent(1, service, named, status, None, (("Out", 5),), 1.5, 1000, "", depth)


CALLS = [
    call("AllocatePages", SUCCESS, AllocateType.ANY_PAGES, 13312, Address(0x9E00000)),
    call("LocateProtocol", NOT_FOUND, guids.TCG2_PROTOCOL, Address(0)),
    call("GetVariable", NOT_FOUND, "SecureBoot", guids.GLOBAL_VARIABLE, None),
    call("RestoreTPL", None, 4, depth=2),
]


@pytest.fixture
def golden(tmp_path: Path) -> Golden:
    made = Golden("made", tmp_path)
    made.renew("kernel 1", CALLS)
    return made


def test_the_normal_form_has_names_and_statuses_and_no_numbers() -> None:
    assert list(normal_form(CALLS)) == [
        "AllocatePages(AllocateAnyPages) = EFI_SUCCESS",
        "LocateProtocol(TCG2_PROTOCOL) = EFI_NOT_FOUND",
        'GetVariable("SecureBoot", GLOBAL_VARIABLE) = EFI_NOT_FOUND',
        "  RestoreTPL()",
    ]


def test_what_was_recorded_is_no_difference(golden: Golden) -> None:
    assert golden.difference("kernel 1", CALLS) == ""
    assert golden.difference("kernel 2", CALLS) == ""
    assert golden.recorded_of() == "kernel 1"


@pytest.mark.parametrize(
    ("at", "other"),
    [
        (1, call("LocateProtocol", SUCCESS, guids.TCG2_PROTOCOL)),
        (1, call("LocateProtocol", NOT_FOUND, guids.RNG_PROTOCOL)),
        (2, call("GetVariable", NOT_FOUND, "SetupMode", guids.GLOBAL_VARIABLE)),
        (0, call("AllocatePages", SUCCESS, AllocateType.ADDRESS)),
    ],
)
def test_another_name_or_status_is_told_with_its_neighbours(
    golden: Golden, at: int, other: CallEvent
) -> None:
    calls = [*CALLS[:at], other, *CALLS[at + 1 :]]
    text = golden.difference("kernel 1", calls)
    (old,), (new,) = normal_form([CALLS[at]]), normal_form([other])
    assert f"-{old}" in text.splitlines()
    assert f"+{new}" in text.splitlines()
    assert "make golden" in text
    assert "not the same" not in text


def test_a_call_more_or_less_is_a_difference_and_says_which_kernels_they_are(golden: Golden) -> None:
    for calls in (CALLS[1:], [*CALLS, CALLS[0]], []):
        text = golden.difference("kernel 2", calls)
        assert "recorded of kernel 1, and compared with kernel 2; they are not the same" in text


def test_a_trace_that_was_never_recorded_says_how(tmp_path: Path) -> None:
    golden = Golden("other", tmp_path)
    assert "make golden" in golden.difference("kernel 1", CALLS)
    assert golden.recorded_of() == ""
