# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvefi.spec.uefi.guids import RNG_PROTOCOL, TCG2_PROTOCOL
from pvefi.spec.uefi.status import EfiStatus
from pvefi.trace.contrast import WIDTH
from pvefi.trace.diff import TraceDiff, diff_traces
from pvefi.trace.diff_json import diff_to_json
from pvefi.trace.diff_text import diff_lines, first_sentence
from pvefi.trace.events import Address, CallEvent
from pvefi.trace.jsonl import Trace, TraceHeader
from pvefi.verdict import Outcome, Verdict
from tests.trace.made import call, calls

HANDOFF = Verdict(Outcome.HANDOFF, "the kernel proper has control")


def trace(*events: CallEvent, verdict: Verdict | None = HANDOFF, **header: str) -> Trace:
    numbered = tuple(replace(event, index=index) for index, event in enumerate(events, 1))
    return Trace(replace(TraceHeader("vmlinuz"), **header), numbered, verdict)  # type: ignore[arg-type]


def allocate(address: int, size: int = 8) -> CallEvent:
    return call(
        1, "AllocatePool", arguments=(("Size", size),), outputs=(("Buffer", Address(address)),), depth=1
    )


def free(address: int) -> CallEvent:
    return call(1, "FreePool", arguments=(("Buffer", Address(address)),), depth=1)


def locate(guid: object = RNG_PROTOCOL, status: EfiStatus = EfiStatus.SUCCESS) -> CallEvent:
    found = Address(0x850210 if status is EfiStatus.SUCCESS else 0)
    return call(
        1,
        "LocateProtocol",
        status,
        arguments=(("Protocol", guid), ("Interface", Address(0x843CA8))),  # type: ignore[arg-type]
        outputs=(("Interface", found),),
        depth=1,
    )


def text(diff: TraceDiff, context: int = 1) -> list[str]:
    return [line.plain for line in diff_lines(diff, ("a.trace", "b.trace"), context)]


def kinds(diff: TraceDiff) -> list[str]:
    names = []
    for pair in diff.pairs:
        if pair.equal:
            names.append("=")
        else:
            names.append("-" if pair.b is None else "+" if pair.a is None else "!")
    return names


small = st.lists(
    st.sampled_from(
        [
            allocate(0x5000),
            allocate(0x6000),
            allocate(0x5000, 1),
            free(0x5000),
            free(0x6000),
            locate(),
            locate(TCG2_PROTOCOL),
            locate(status=EfiStatus.NOT_FOUND),
        ]
    ),
    max_size=12,
)


@given(st.lists(calls, max_size=6))
def test_a_trace_is_equal_to_itself(events: list[CallEvent]) -> None:
    same = trace(*events)
    diff = diff_traces(same, same)
    assert diff.equal
    assert diff.first is None
    assert not diff.services
    assert first_sentence(diff).startswith("equal: the same")


@given(small, small)
def test_exchanging_the_traces_exchanges_the_answer(a: list[CallEvent], b: list[CallEvent]) -> None:
    one, two = diff_traces(trace(*a), trace(*b)), diff_traces(trace(*b), trace(*a))
    assert one.equal == two.equal
    assert {(pair.a, pair.b) for pair in one.pairs} == {(pair.b, pair.a) for pair in two.pairs}
    assert {(part.kind, part.name, part.a, part.b) for pair in one.pairs for part in pair.differences} == {
        (part.kind, part.name, part.b, part.a) for pair in two.pairs for part in pair.differences
    }


@given(small, small)
def test_every_call_is_told_once_and_in_order(a: list[CallEvent], b: list[CallEvent]) -> None:
    diff = diff_traces(trace(*a), trace(*b))
    assert [pair.a.event for pair in diff.pairs if pair.a] == list(diff.a.events)
    assert [pair.b.event for pair in diff.pairs if pair.b] == list(diff.b.events)


@given(st.lists(calls, max_size=4), st.lists(calls, max_size=4))
def test_any_two_traces_are_told_without_control_characters(a: list[CallEvent], b: list[CallEvent]) -> None:
    diff = diff_traces(trace(*a), trace(*b))
    assert all(line.isprintable() for line in text(diff))
    json.dumps(diff_to_json(diff, ("a", "b")), allow_nan=False)


def test_other_addresses_alone_are_no_difference() -> None:
    a = trace(allocate(0x5000), free(0x5000))
    b = trace(allocate(0x7000), free(0x7000))
    assert diff_traces(a, b).equal


def test_freeing_another_buffer_is_a_difference() -> None:
    a = trace(allocate(0x5000), allocate(0x6000), free(0x6000))
    b = trace(allocate(0x5000), allocate(0x6000), free(0x5000))
    diff = diff_traces(a, b)
    assert kinds(diff) == ["=", "=", "!"]
    assert first_sentence(diff) == (
        "first difference: FreePool(), call 3 of both: argument Buffer is 0x6000, the Buffer of call 2 in A, "
        "0x5000, the Buffer of call 1 in B"
    )


def test_an_address_that_nobody_gave_is_told_against_one_that_a_call_gave() -> None:
    diff = diff_traces(trace(allocate(0x5000), free(0x5000)), trace(allocate(0x5000), free(0x9000)))
    assert "0x9000, which no call gave in B" in first_sentence(diff)


def test_a_call_more_does_not_shift_what_comes_after() -> None:
    a = trace(allocate(0x5000), free(0x5000), locate())
    b = trace(locate(TCG2_PROTOCOL), allocate(0x5000), free(0x5000), locate())
    diff = diff_traces(a, b)
    assert kinds(diff) == ["+", "=", "=", "="]
    assert first_sentence(diff) == (
        "first difference: B calls LocateProtocol(Protocol=TCG2_PROTOCOL) as call 1 "
        "where A calls AllocatePool(Size=8) as call 1"
    )
    assert diff.services == (("LocateProtocol", 1, 2),)


def test_a_call_with_another_argument_is_one_that_changed() -> None:
    diff = diff_traces(trace(locate(), allocate(0x5000, 1)), trace(locate(), allocate(0x5000, 8)))
    assert kinds(diff) == ["=", "!"]
    assert first_sentence(diff).endswith("AllocatePool(), call 2 of both: argument Size is 1 in A, 8 in B")


def test_a_refusal_is_told_by_its_status_first() -> None:
    diff = diff_traces(trace(locate()), trace(locate(status=EfiStatus.NOT_FOUND)))
    assert first_sentence(diff) == (
        "first difference: LocateProtocol(Protocol=RNG_PROTOCOL), call 1 of both: "
        "status is EFI_SUCCESS in A, EFI_NOT_FOUND in B; output Interface is 0x850210 in A, 0x0 in B"
    )


def test_a_trace_that_stops_earlier_makes_no_more_calls() -> None:
    diff = diff_traces(trace(locate()), trace(locate(), allocate(0x5000)))
    assert first_sentence(diff) == (
        "first difference: B calls AllocatePool(Size=8) as call 2 where A makes no more calls"
    )


def test_an_argument_that_only_one_side_has_is_named() -> None:
    lacking = replace(allocate(0x5000), arguments=())
    (pair,) = diff_traces(trace(lacking), trace(allocate(0x5000))).pairs
    assert [(one.name, one.a) for one in pair.differences] == [("Size", None)]
    assert (
        "argument Size is not there in A, 8 in B" in text(diff_traces(trace(lacking), trace(allocate(0))))[3]
    )


def test_another_end_is_a_difference() -> None:
    exited = Verdict(Outcome.EXITED, "it ended", EfiStatus.ABORTED)
    diff = diff_traces(trace(locate()), trace(locate(), verdict=exited))
    assert not diff.equal
    assert first_sentence(diff) == (
        "the same 1 call, but another end: hand-off: the kernel proper has control in A, "
        "exited: it ended, EFI_ABORTED in B"
    )


def test_a_boot_that_was_killed_ended_otherwise() -> None:
    killed = replace(trace(locate(), verdict=None), note="no end record")
    assert not diff_traces(trace(locate()), killed).equal
    assert diff_traces(killed, killed).equal


def test_headers_are_told_but_not_judged() -> None:
    diff = diff_traces(trace(locate(), command_line="nokaslr"), trace(locate(), profile="minimal"))
    assert diff.equal
    lines = text(diff)
    assert lines[2].split() == ["header", "A", "B"]
    assert lines[3].split() == ["profile", "none", "minimal"]
    assert lines[4].split() == ["command_line", "nokaslr", "none"]


def test_equal_runs_are_folded_to_their_number() -> None:
    same = [allocate(0x5000 + 16 * at) for at in range(20)]
    diff = diff_traces(trace(*same, locate()), trace(*same, locate(status=EfiStatus.NOT_FOUND)))
    lines = text(diff)
    assert any(line.endswith("19 equal calls") for line in lines)
    assert not any("equal calls" in line for line in text(diff, context=20))
    assert sum("AllocatePool" in line for line in text(diff, context=20)) == 20


def test_one_equal_call_is_shown_rather_than_folded() -> None:
    diff = diff_traces(trace(locate(), free(0)), trace(locate(), free(0x10)))
    assert not any("equal calls" in line for line in text(diff, context=0))


def test_no_line_is_wider_than_a_mail_where_values_are_not() -> None:
    lines = text(diff_traces(trace(locate(), allocate(1, 7), free(1)), trace(allocate(1, 8), free(2))))
    assert max(map(len, lines)) <= WIDTH


def test_long_texts_are_shown_where_they_differ() -> None:
    long = "x" * 200
    a, b = (
        trace(call(1, "OutputString", arguments=(("String", f"{long}{end}{long}"),), depth=1)) for end in "ab"
    )
    told = first_sentence(diff_traces(a, b))
    assert "xxxaxxx" in told
    assert "xxxbxxx" in told


def test_the_document_has_runs_and_differences() -> None:
    a = trace(allocate(0x5000), free(0x5000), locate())
    b = trace(locate(TCG2_PROTOCOL), allocate(0x5000), free(0x5000), locate(status=EfiStatus.NOT_FOUND))
    document = json.loads(json.dumps(diff_to_json(diff_traces(a, b), ("a.trace", "b.trace"))))
    assert (document["schema"], document["version"], document["equal"]) == ("pvefi/trace-diff", 1, False)
    assert [run["kind"] for run in document["runs"]] == ["only in b", "equal", "changed"]
    assert document["runs"][1] == {"kind": "equal", "calls": 2, "a": [1, 2], "b": [2, 3]}
    assert [one["part"] for one in document["runs"][2]["differences"]] == ["status", "output"]
    assert document["a"]["file"] == "a.trace"
    assert document["services"] == [{"service": "LocateProtocol", "a": 1, "b": 2}]


@pytest.mark.parametrize("sizes", [(3000, 3001), (5000, 10)])
def test_long_traces_are_compared_in_a_moment(sizes: tuple[int, int]) -> None:
    a, b = (trace(*(allocate(0x5000 + at, at % 7) for at in range(size))) for size in sizes)
    assert not diff_traces(a, b).equal
