# SPDX-License-Identifier: GPL-2.0-or-later
"""The comparison of two traces as one JSON document."""

from __future__ import annotations

from itertools import groupby

from pvefi.trace.diff import CallPair, PartDifference, TraceDiff
from pvefi.trace.diff_text import first_sentence
from pvefi.trace.jsonl import Trace, event_to_json, trace_to_json
from pvefi.trace.roles import ComparedCall, Part
from pvefi.trace.values import Json, value_to_json

__all__ = ["SCHEMA", "VERSION", "diff_to_json"]

SCHEMA = "pvefi/trace-diff"
VERSION = 1


def diff_to_json(diff: TraceDiff, names: tuple[str, str]) -> dict[str, Json]:
    """Return the comparison of the traces in the files `names`."""
    runs: list[Json] = []
    for equal, group in groupby(diff.pairs, key=lambda pair: pair.equal):
        run = list(group)
        runs += [_equal_run(run)] if equal else [_different(pair) for pair in run]
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "equal": diff.equal,
        "same_end": diff.same_end,
        "first": first_sentence(diff),
        "a": _side(diff.a, names[0]),
        "b": _side(diff.b, names[1]),
        "header": [
            {"field": one.field, "a": value_to_json(one.a), "b": value_to_json(one.b)} for one in diff.header
        ],
        "runs": runs,
        "services": [{"service": name, "a": a, "b": b} for name, a, b in diff.services],
    }


def _side(trace: Trace, name: str) -> Json:
    return {"file": name, **trace_to_json(trace), "calls": len(trace.events)}


def _equal_run(run: list[CallPair]) -> Json:
    first, last = run[0], run[-1]
    assert first.a is not None
    assert first.b is not None
    assert last.a is not None
    assert last.b is not None
    return {
        "kind": "equal",
        "calls": len(run),
        "a": [first.a.event.index, last.a.event.index],
        "b": [first.b.event.index, last.b.event.index],
    }


def _different(pair: CallPair) -> Json:
    if pair.a is None or pair.b is None:
        kind = "only in b" if pair.a is None else "only in a"
        return {"kind": kind, "a": _call(pair.a), "b": _call(pair.b)}
    differences: list[Json] = [_difference(one) for one in pair.differences]
    return {"kind": "changed", "a": _call(pair.a), "b": _call(pair.b), "differences": differences}


def _call(call: ComparedCall | None) -> Json:
    return None if call is None else event_to_json(call.event)


def _difference(one: PartDifference) -> Json:
    return {"part": one.kind, "name": one.name, "a": _part(one.a), "b": _part(one.b)}


def _part(part: Part | None) -> Json:
    """Return the value, and for one that a call gave out which call that was."""
    if part is None:
        return None
    given: Json = None
    if part.origin is not None:
        given = {"call": part.origin.index, "output": part.origin.output}
    return {"value": value_to_json(part.value), "given_by": given}
