# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import io
import json
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from pvefi.spec.uefi.guids import GLOBAL_VARIABLE, RNG_PROTOCOL, TCG2_PROTOCOL
from pvefi.spec.uefi.status import EfiStatus
from pvefi.trace.events import NOT_IMPLEMENTED, OUTSIDE_PROFILE, CallEvent
from pvefi.trace.summary import Summary, render, summarize, to_json
from tests.trace.made import call, calls

EVENTS = [
    call(1, "AllocatePool", host_us=10, instructions=1_000),
    call(2, "AllocatePool", host_us=30, instructions=1_500),
    call(
        3,
        "LocateProtocol",
        EfiStatus.NOT_FOUND,
        arguments=(("Protocol", TCG2_PROTOCOL),),
        why=OUTSIDE_PROFILE,
        host_us=5,
        instructions=2_000,
    ),
    call(
        4,
        "LocateProtocol",
        EfiStatus.NOT_FOUND,
        arguments=(("Protocol", RNG_PROTOCOL),),
        why="no handle has it",
        instructions=2_100,
    ),
    call(
        5,
        "GetVariable",
        EfiStatus.NOT_FOUND,
        arguments=(("VariableName", "SecureBoot"), ("VendorGuid", GLOBAL_VARIABLE)),
        instructions=2_200,
    ),
    call(6, "SetTimer", EfiStatus.UNSUPPORTED, why=NOT_IMPLEMENTED, instructions=2_300),
    call(7, "GetMemoryMap", EfiStatus.BUFFER_TOO_SMALL, why="1920 bytes", instructions=90_000_000),
    call(8, "AllocatePool", host_us=20, instructions=90_000_100),
]


def printed(summary: Summary) -> str:
    file = io.StringIO()
    render(summary, Console(file=file, width=40))
    return file.getvalue()


def test_calls_are_counted_by_service_with_time() -> None:
    pool = summarize(EVENTS).services[0]
    assert (pool.service, pool.calls, pool.refused) == ("AllocatePool", 3, 0)
    assert (pool.total_us, pool.median_us, pool.max_us) == (60, 20, 30)


def test_the_guests_work_before_a_call_counts_for_its_service() -> None:
    pool = summarize(EVENTS).services[0]
    assert pool.instructions == 1_000 + 500 + 100


def test_instructions_are_left_out_when_not_counted() -> None:
    summary = summarize([call(1), call(2)])
    assert summary.services[0].instructions is None
    assert "instr before" not in printed(summary)


def test_what_was_refused_is_named_by_kind_with_its_subject() -> None:
    refusals = [(one.kind, one.service, one.subject) for one in summarize(EVENTS).refusals]
    assert refusals == [
        ("outside the profile", "LocateProtocol", "TCG2_PROTOCOL"),
        ("not found", "LocateProtocol", "RNG_PROTOCOL"),
        ("not found", "GetVariable", '"SecureBoot", GLOBAL_VARIABLE'),
        ("not implemented", "SetTimer", ""),
        ("other reasons", "GetMemoryMap", ""),
    ]


def test_a_reason_that_does_not_fit_stands_below() -> None:
    long = replace(EVENTS[3], why="x" * 90)
    lines = printed(summarize([EVENTS[3], long])).splitlines()
    assert "  1  LocateProtocol(RNG_PROTOCOL) = EFI_NOT_FOUND (no handle has it)" in lines
    assert (
        lines[lines.index("  1  LocateProtocol(RNG_PROTOCOL) = EFI_NOT_FOUND") + 1] == f"       ({'x' * 90})"
    )


def test_refusals_alike_are_one_line_with_a_count() -> None:
    (refusal,) = summarize([EVENTS[2], EVENTS[2]]).refusals
    assert refusal.calls == 2


def test_the_longest_stretch_without_a_call_comes_first() -> None:
    gap = summarize(EVENTS).gaps[0]
    assert gap.after is not None
    assert (gap.after.index, gap.before.index, gap.instructions) == (6, 7, 90_000_000 - 2_300)
    assert summarize(EVENTS[:1]).gaps[0].after is None


def test_no_stretch_is_shown_where_there_is_none() -> None:
    assert "longest without a call" in printed(summarize(EVENTS))
    assert "longest without a call" not in printed(
        summarize([call(1, instructions=0), call(2, instructions=0)])
    )


def test_the_table_is_aligned_and_has_a_total() -> None:
    lines = printed(summarize(EVENTS)).splitlines()
    head = "% time  total us  median us  max us  calls  refused  instr before  service"
    assert lines[0].split() == head.split()
    assert lines[1].split() == ["57.1", "60", "20", "30", "3", "1,600", "AllocatePool"]
    total = next(line for line in lines if line.endswith("total"))
    assert total.split() == ["105", "8", "5", "90,000,100", "total"]
    assert total.index("total") == lines[0].index("service")


def test_an_empty_trace_has_a_summary() -> None:
    assert "total" in printed(summarize([]))


@given(st.lists(calls, max_size=8, unique_by=lambda event: event.index))
def test_any_trace_can_be_summed_up(events: list[CallEvent]) -> None:
    summary = summarize(events)
    assert sum(use.calls for use in summary.services) == len(events)
    assert all(line.isprintable() for line in printed(summary).splitlines())
    json.dumps(to_json(summary), allow_nan=False)
