# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import json
from pathlib import Path

import pytest

from pvefi.cli import main
from pvefi.spec.uefi.guids import TCG2_PROTOCOL
from pvefi.spec.uefi.status import EfiStatus
from pvefi.trace.jsonl import TraceHeader, TraceWriter
from pvefi.verdict import Outcome, Verdict
from tests.trace.made import allocate_pages, call


@pytest.fixture
def trace_file(tmp_path: Path) -> str:
    path = tmp_path / "trace.jsonl"
    with TraceWriter(path, TraceHeader("vmlinuz", machine="embedded")) as writer:
        writer.append(allocate_pages())
        writer.append(
            call(13, "LocateProtocol", EfiStatus.NOT_FOUND, arguments=(("Protocol", TCG2_PROTOCOL),))
        )
        writer.end(Verdict(Outcome.HANDOFF, "the kernel proper got control"))
    return str(path)


def output(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["trace", *words]) == 0
    return capsys.readouterr().out


def test_show_prints_a_line_a_call(trace_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = output(capsys, "show", trace_file).splitlines()
    assert len(lines) == 4
    assert lines[1].startswith("12 AllocatePages(Type=AllocateAnyPages, ")
    assert lines[3] == "+++ hand-off: the kernel proper got control +++"


def test_show_prints_only_errors(trace_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = output(capsys, "show", "--errors", trace_file).splitlines()
    assert [line.split("(")[0] for line in lines[1:-1]] == ["13 LocateProtocol"]


def test_show_as_json_is_one_document_of_the_chosen_calls(
    trace_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    document = json.loads(output(capsys, "show", "--json", "-e", "locate*", trace_file))
    assert (document["schema"], document["version"]) == ("pvefi/trace-calls", 1)
    assert [event["index"] for event in document["calls"]] == [13]
    assert document["verdict"]["end"] == "hand-off"


def test_summary_counts(trace_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = output(capsys, "summary", trace_file)
    assert "1  LocateProtocol(TCG2_PROTOCOL) = EFI_NOT_FOUND" in out


def test_summary_as_json_is_one_document(trace_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads(output(capsys, "summary", "--json", trace_file))
    assert (document["schema"], document["calls"], document["image"]) == ("pvefi/trace-summary", 2, "vmlinuz")


def test_the_letters_of_options_are_those_of_strace(
    trace_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = output(capsys, "show", "-Z", "-e", "Locate*", "-s", "3", trace_file).splitlines()
    assert len(lines) == 3


def test_no_verb_is_one_line_and_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace"]) == 2
    assert capsys.readouterr().err == "pvefi: missing command (pvefi trace --help)\n"


@pytest.mark.parametrize("verb", ["show", "summary"])
def test_a_file_that_is_no_trace_is_one_line_and_bad_input(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "vmlinuz"
    path.write_bytes(b"MZ\x00\x1b[31m")
    assert main(["trace", verb, str(path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"pvefi: {path} is no trace of pvefi")
    assert captured.err.count("\n") == 1


def test_a_trace_does_not_differ_from_itself(trace_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "equal: the same 2 calls and the same end" in output(capsys, "diff", trace_file, trace_file)


def test_a_difference_is_status_1_and_named(
    trace_file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    with TraceWriter(other, TraceHeader("vmlinuz")) as writer:
        writer.append(allocate_pages())
        writer.end(Verdict(Outcome.HANDOFF, "the kernel proper got control"))
    assert main(["trace", "diff", trace_file, str(other)]) == 1
    out = capsys.readouterr().out
    assert "first difference: A calls LocateProtocol(Protocol=TCG2_PROTOCOL) as call 13 where" in out


def test_a_diff_as_json_is_one_document(trace_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads(output(capsys, "diff", "--json", trace_file, trace_file))
    assert (document["schema"], document["equal"]) == ("pvefi/trace-diff", True)
    assert document["a"]["file"] == trace_file


def test_a_diff_with_a_file_that_is_no_trace_is_bad_input(
    trace_file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"MZ")
    assert main(["trace", "diff", trace_file, str(other)]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"pvefi: {other} is no trace of pvefi")
    assert captured.err.count("\n") == 1
