# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvefi.errors import UsageError
from pvefi.spec.uefi.status import EfiStatus
from pvefi.trace.events import CallEvent
from pvefi.trace.jsonl import Trace, TraceHeader, TraceWriter, read_trace
from pvefi.trace.show import call_line
from pvefi.verdict import Outcome, Verdict
from tests.trace.made import allocate_pages, call, calls

HEADER = TraceHeader(
    image="vmlinuz-6.1", machine="embedded", entry="efi", profile="linux", memory_size=512 << 20, seed=1
)
HANDOFF = Verdict(Outcome.HANDOFF, "the kernel proper got control")


def written(path: Path, events: list[CallEvent], verdict: Verdict | None = HANDOFF) -> Path:
    with TraceWriter(path, HEADER) as writer:
        for event in events:
            writer.append(event)
        if verdict is not None:
            writer.end(verdict)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trace.jsonl"


@given(st.lists(calls, max_size=5, unique_by=lambda event: event.index))
def test_what_is_read_prints_as_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, events: list[CallEvent]
) -> None:
    trace = read_trace(written(tmp_path_factory.mktemp("trace") / "t", events))
    events = sorted(events, key=lambda event: event.index)
    assert [call_line(event) for event in trace.events] == [call_line(event) for event in events]
    assert list(trace.events) == [replace(event, host_us=round(event.host_us, 3)) for event in events]


def test_header_and_verdict_come_back(path: Path) -> None:
    verdict = Verdict(Outcome.EXITED, "the program returned", EfiStatus(0x77))
    assert read_trace(written(path, [], verdict)) == Trace(HEADER, (), verdict)


def test_every_line_is_a_json_object_and_the_first_names_the_schema(path: Path) -> None:
    lines = [json.loads(line) for line in written(path, [allocate_pages()]).read_text().splitlines()]
    assert lines[0]["schema"] == "pvefi/trace"
    assert lines[0]["version"] == 1
    assert lines[1]["arguments"]["Memory"] == {"address": "0x0"}
    assert lines[1]["status"] == "EFI_SUCCESS"
    assert lines[2]["end"] == "hand-off"


def test_a_call_is_in_the_file_before_the_next_one_is_made(path: Path) -> None:
    with TraceWriter(path, HEADER) as writer:
        writer.append(allocate_pages())
        assert read_trace(path).events == (allocate_pages(),)


def test_a_boot_that_was_killed_leaves_a_readable_trace(path: Path) -> None:
    trace = read_trace(written(path, [allocate_pages()], None))
    assert trace.events == (allocate_pages(),)
    assert trace.verdict is None
    assert "no end record" in trace.note


def test_calls_of_an_upcall_stand_after_the_call_that_made_it(path: Path) -> None:
    inner, outer = call(11, depth=1), call(10, "StartImage")
    assert read_trace(written(path, [inner, outer])).events == (outer, inner)


def test_a_name_that_comes_twice_is_kept_twice(path: Path) -> None:
    event = call(arguments=(("Protocol", 1), ("Protocol", 2)))
    assert read_trace(written(path, [event])).events == (event,)


def test_lines_of_a_later_kind_are_skipped(path: Path) -> None:
    written(path, [allocate_pages()])
    path.write_text(path.read_text() + '{"console": "hello"}\n')
    assert read_trace(path).events == (allocate_pages(),)


@given(cut=st.integers(1, 200))
def test_a_last_line_cut_short_is_left_out_with_a_note(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = written(tmp_path_factory.mktemp("trace") / "t", [allocate_pages(), allocate_pages()], None)
    data = path.read_bytes()
    path.write_bytes(data[:-cut])
    trace = read_trace(path)
    assert trace.events == ((allocate_pages(),) if cut > 1 else (allocate_pages(),) * 2)
    assert "killed" in trace.note


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "found an empty file"),
        (b"\x7fELF\x02\x01\xff\xfe\n", "is no trace of pvefi"),
        (b"[" * 100_000, "is no trace of pvefi"),
        (b'{"schema": "pvefi/boot", "version": 1}\n', "is no trace of pvefi"),
        (b'{"schema": "pvefi/trace", "version": 2, "image": "x"}\n', "of version 2"),
        (b'{"schema": "pvefi/trace"}\n', "of version None"),
        (b'{"schema": "pvefi/trace", "version": 1, "image": 5}\n', "line 1 is damaged: image: expected str"),
    ],
)
def test_a_file_that_is_no_trace_of_this_version_is_one_clear_error(
    path: Path, content: bytes, complaint: str
) -> None:
    path.write_bytes(content)
    with pytest.raises(UsageError, match=complaint):
        read_trace(path)


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("status", "EFI_FINE", "line 2 is damaged"),
        ("status", 5, "status: expected str, found 5"),
        ("arguments", [["a", 1, 2]], "line 2 is damaged"),
        ("arguments", {"a": 1.5}, "1.5 is no value"),
        ("host_us", "soon", "host_us: expected float"),
        ("host_us", float("inf"), "host_us: expected a time"),
        ("result", "x", "result: expected a number"),
        ("depth", None, "depth: expected int"),
    ],
)
def test_a_damaged_line_is_named_with_what_was_expected(
    path: Path, field: str, value: object, complaint: str
) -> None:
    lines = written(path, [allocate_pages()]).read_text().splitlines()
    lines[1] = json.dumps(json.loads(lines[1]) | {field: value})
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(UsageError, match=complaint):
        read_trace(path)


@given(st.binary(max_size=60), st.integers(0, 900))
def test_a_trace_damaged_anywhere_is_read_or_refused_never_a_surprise(
    tmp_path_factory: pytest.TempPathFactory, damage: bytes, at: int
) -> None:
    path = written(tmp_path_factory.mktemp("trace") / "t", [allocate_pages()])
    data = bytearray(path.read_bytes())
    data[at : at + len(damage)] = damage
    path.write_bytes(data)
    try:
        trace = read_trace(path)
    except UsageError:
        return
    for event in trace.events:
        call_line(event)


def test_a_missing_file_is_one_clear_error(path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        read_trace(path)


def test_a_place_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot write the trace: Is a directory"):
        TraceWriter(tmp_path, HEADER)


def test_a_full_disk_is_one_clear_error() -> None:
    with pytest.raises(UsageError, match="No space left"), TraceWriter("/dev/full", HEADER):
        pass
