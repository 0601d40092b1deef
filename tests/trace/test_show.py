# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import io

import pytest
from rich.console import Console

from pvefi.spec.uefi.guids import TCG2_PROTOCOL
from pvefi.spec.uefi.status import EfiStatus
from pvefi.trace.events import OUTSIDE_PROFILE, CallEvent
from pvefi.trace.jsonl import Trace, TraceHeader
from pvefi.trace.show import call_line, render, select, verdict_message
from pvefi.verdict import Outcome, Verdict
from tests.trace.made import allocate_pages, call

OUTPUT_STRING = "EFI_SIMPLE_TEXT_OUTPUT_PROTOCOL.OutputString"


def not_found(index: int = 13) -> CallEvent:
    return call(
        index,
        "LocateProtocol",
        EfiStatus.NOT_FOUND,
        arguments=(("Protocol", TCG2_PROTOCOL),),
        why=OUTSIDE_PROFILE,
    )


def shown(*events: CallEvent, verdict: Verdict | None = None, tty: bool = False) -> str:
    file = io.StringIO()
    trace = Trace(TraceHeader("vmlinuz", machine="embedded"), events, verdict, note="no end record")
    render(trace, Console(file=file, force_terminal=tty, width=40))
    return file.getvalue()


def test_a_call_reads_like_strace() -> None:
    assert call_line(allocate_pages()) == (
        "AllocatePages(Type=AllocateAnyPages, MemoryType=EfiLoaderData, Pages=4, Memory=0x0)"
        " = EFI_SUCCESS [Memory=0x3e7f000] <21 us>"
    )


def test_the_reason_of_a_refusal_stands_after_it() -> None:
    assert "= EFI_NOT_FOUND (outside the profile) <10 us>" in call_line(not_found())


def test_a_function_without_a_status_shows_what_it_returns() -> None:
    assert call_line(call(service="RaiseTPL", status=None, result=4)) == "RaiseTPL() = 4 <10 us>"
    assert call_line(call(service="RestoreTPL", status=None)) == "RestoreTPL() <10 us>"


def test_counted_instructions_are_shown() -> None:
    assert call_line(call(instructions=96528696)).endswith("<10 us at 96,528,696>")


def test_a_call_within_an_upcall_is_indented() -> None:
    lines = shown(call(9), call(10, depth=1)).splitlines()
    assert lines[1].startswith(" 9 AllocatePages(")
    assert lines[2].startswith("10   AllocatePages(")


def test_the_first_line_says_which_boot_and_the_last_how_it_ended() -> None:
    lines = shown(verdict=Verdict(Outcome.EXITED, "it returned", EfiStatus.NOT_FOUND)).splitlines()
    assert lines == [
        "--- vmlinuz, machine embedded ---",
        "+++ exited: it returned, EFI_NOT_FOUND +++",
    ]


def test_a_trace_without_an_end_says_so() -> None:
    assert shown().splitlines()[-1] == "+++ no end record +++"


def test_no_line_is_wrapped_and_no_colour_leaves_a_terminal() -> None:
    plain, coloured = shown(allocate_pages(), not_found()), shown(allocate_pages(), not_found(), tty=True)
    assert "\x1b" not in plain
    assert len(plain.splitlines()) == len(coloured.splitlines()) == 4
    assert "\x1b[" in coloured


def test_the_outermost_calls_are_not_indented() -> None:
    lines = shown(call(1, depth=1), call(2, depth=2)).splitlines()
    assert lines[1].startswith("1 AllocatePages(")
    assert lines[2].startswith("2   AllocatePages(")


def test_a_status_that_the_message_tells_is_not_repeated() -> None:
    verdict = Verdict(Outcome.EXITED, "it ended with EFI_NOT_FOUND", EfiStatus.NOT_FOUND)
    assert verdict_message(verdict) == "it ended with EFI_NOT_FOUND"


def test_a_damaged_depth_fills_no_screen() -> None:
    assert len(shown(call(1), call(2, depth=1 << 40))) < 200


@pytest.mark.parametrize(
    ("globs", "found"),
    [
        ((), [1, 2, 3]),
        (("locate*",), [2]),
        (("OutputString",), [3]),
        (("EFI_SIMPLE_TEXT_OUTPUT_PROTOCOL.*",), [3]),
        (("AllocatePages", "LocateProtocol"), [1, 2]),
        (("output",), []),
    ],
)
def test_calls_are_chosen_by_service(globs: tuple[str, ...], found: list[int]) -> None:
    events = [call(1), not_found(2), call(3, OUTPUT_STRING)]
    assert [event.index for event in select(events, globs)] == found


def test_only_refusals_are_chosen() -> None:
    warning = call(3, status=EfiStatus.WARN_UNKNOWN_GLYPH)
    assert [event.index for event in select([call(1), not_found(2), warning], refusals_only=True)] == [2]
