# SPDX-License-Identifier: GPL-2.0-or-later
"""The comparison of two traces for people: the first difference in a sentence, then all, then the counts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from textwrap import wrap

from rich.text import Text

from pvefi.trace.contrast import WIDTH, Contrast, contrast_lines, shown_apart
from pvefi.trace.diff import CallPair, PartDifference, TraceDiff
from pvefi.trace.jsonl import Trace
from pvefi.trace.roles import ComparedCall, Part
from pvefi.trace.show import verdict_line
from pvefi.trace.spelling import TEXT_LIMIT, escaped, spell

__all__ = ["diff_lines", "first_sentence", "part_texts"]

_ALL = 1 << 20  # characters: more than a line of a trace can have that matters


def diff_lines(diff: TraceDiff, names: tuple[str, str], context: int = 1) -> Iterator[Text]:
    """Yield the report; `names` are the files', `context` calls are shown around each difference."""
    for side, name, trace in (("A", names[0], diff.a), ("B", names[1], diff.b)):
        yield Text.assemble((f"{side}  {escaped(name)}", "bold"), f": {_calls(trace)}, {_end(trace)}")
    if diff.header:
        rows = [
            Contrast(one.field, *shown_apart(*_header_texts(one.a, one.b), 24 * WIDTH)) for one in diff.header
        ]
        yield from contrast_lines(rows, head="header")
    yield Text()
    style = "bold green" if diff.equal else "bold red"
    yield from (Text(line, style) for line in _wrapped("", first_sentence(diff)))
    if diff.first is None:
        return
    yield Text()
    yield from _pair_lines(diff, context)
    if diff.services:
        yield Text()
        yield from _service_lines(diff)


def _calls(trace: Trace) -> str:
    return f"{len(trace.events):,} call{'' if len(trace.events) == 1 else 's'}"


def _end(trace: Trace) -> str:
    if trace.verdict is None:
        return escaped(trace.note)
    return verdict_line(trace.verdict)


def _header_texts(a: object, b: object) -> tuple[str, str]:
    made = ["none" if value in (None, "") else escaped(str(value)) for value in (a, b)]
    return made[0], made[1]


def first_sentence(diff: TraceDiff) -> str:
    """Return one sentence: that nothing differs, or what differs first."""
    first = diff.first
    if first is None:
        if diff.same_end:
            return f"equal: the same {_calls(diff.a)} and the same end"
        same = f"the same {_calls(diff.a)}, but another end: "
        return same + f"{_end(diff.a)} in A, {_end(diff.b)} in B"
    if first.a is not None and first.b is not None:
        call, _ = call_text(first.a, first.differences)
        told = "; ".join(_told(one) for one in first.differences)
        return f"first difference: {call}, {_numbers(first.a, first.b)}: {told}"
    rest = diff.pairs[next(at for at, pair in enumerate(diff.pairs) if pair is first) :]
    does_a = _does("A", next((pair.a for pair in rest if pair.a is not None), None))
    does_b = _does("B", next((pair.b for pair in rest if pair.b is not None), None))
    both = (does_a, does_b) if first.a is not None else (does_b, does_a)
    return f"first difference: {' where '.join(both)}"


def _numbers(a: ComparedCall, b: ComparedCall) -> str:
    if a.event.index == b.event.index:
        return f"call {a.event.index} of both"
    return f"call {a.event.index} of A and {b.event.index} of B"


def _does(side: str, call: ComparedCall | None) -> str:
    if call is None:
        return f"{side} makes no more calls"
    return f"{side} calls {call_text(call)[0]} as call {call.event.index}"


def _told(one: PartDifference) -> str:
    a, b = part_texts(one)
    return f"{_part_name(one)} is {a} in A, {b} in B"


def _part_name(one: PartDifference) -> str:
    return escaped(f"{one.kind} {one.name}".rstrip())


def part_texts(one: PartDifference, limit: int = TEXT_LIMIT) -> tuple[str, str]:
    """Return what both sides have, so that it reads differently where it is different."""
    return shown_apart(_part_text(one, one.a), _part_text(one, one.b), limit)


def _part_text(one: PartDifference, part: Part | None) -> str:
    if part is None or (part.kind in ("status", "result") and part.value is None):
        return "not there"
    text = _value_text(part, _ALL)
    other = one.b if part is one.a else one.a
    if part.origin is not None:
        return f"{text}, the {escaped(str(part.origin))}"
    if other is not None and other.origin is not None and part.value:
        return f"{text}, which no call gave"
    return text


def call_text(call: ComparedCall, without: Sequence[PartDifference] = ()) -> tuple[str, str]:
    """Return a call and its answer, of both the parts that are compared and not among `without`."""
    skip = {id(part) for one in without for part in (one.a, one.b)}
    shown = [part for part in call.parts if part.told and id(part) not in skip]
    answers = [
        _value_text(part) for part in shown if part.kind in ("status", "result") and part.value is not None
    ]
    if outputs := _pairs(shown, "output"):
        answers.append(f"[{outputs}]")
    return f"{escaped(call.event.service)}({_pairs(shown, 'argument')})", " ".join(answers)


def _value_text(part: Part, limit: int = TEXT_LIMIT) -> str:
    return escaped(str(part.value)) if part.kind == "status" else spell(part.value, limit)


def _pairs(parts: Sequence[Part], kind: str) -> str:
    return ", ".join(f"{escaped(part.name)}={spell(part.value)}" for part in parts if part.kind == kind)


# ------------------------------------------------------------------ the calls side by side


def _pair_lines(diff: TraceDiff, context: int) -> Iterator[Text]:
    width = len(str(max([event.index for trace in (diff.a, diff.b) for event in trace.events], default=0)))
    runs = [(equal, list(run)) for equal, run in groupby(diff.pairs, key=lambda pair: pair.equal)]
    yield Text(f"   {'A':>{width}} {'B':>{width}}  call", "dim")
    for at, (equal, run) in enumerate(runs):
        if not equal:
            for pair in run:
                yield from _one(pair, width)
            continue
        before = context if at else 0
        after = context if at + 1 < len(runs) else 0
        if len(run) <= before + after + 1:
            before, after = len(run), 0
        for pair in run[:before]:
            yield from _one(pair, width)
        if folded := len(run) - before - after:
            yield Text(f"   {'…':>{width}} {'…':>{width}}  {folded:,} equal calls", "dim")
        for pair in run[len(run) - after :]:
            yield from _one(pair, width)


def _one(pair: CallPair, width: int) -> Iterator[Text]:
    numbers = [f"{call.event.index if call is not None else '':>{width}}" for call in (pair.a, pair.b)]
    mark, style = " ", ""
    if pair.b is None:
        mark, style = "-", "red"
    elif pair.a is None:
        mark, style = "+", "green"
    elif pair.differences:
        mark, style = "!", "yellow"
    call = pair.a or pair.b
    assert call is not None, "a pair has a call"
    start = f"{mark}  {numbers[0]} {numbers[1]}  "
    depth = "  " * min(max(call.event.depth - 1, 0), 16)
    told = call_text(call, pair.differences)
    yield from (Text(line, style) for line in _folded(start + depth, *told))
    if pair.differences:
        rows = [Contrast(_part_name(one), *part_texts(one, WIDTH)) for one in pair.differences]
        yield from contrast_lines(rows, indent=len(start) + len(depth))


def _folded(start: str, call: str, answer: str) -> list[str]:
    """Return one line, or more where the answer does not fit beside the call."""
    line = f"{start}{call} = {answer}" if answer else start + call
    if len(line) <= WIDTH or not answer:
        return _wrapped(start, line[len(start) :])
    return [*_wrapped(start, call), *_wrapped(" " * (len(start) + 4), f"= {answer}")]


def _wrapped(start: str, text: str) -> list[str]:
    indent = " " * (len(start) + 4 * bool(start))
    return wrap(
        text,
        WIDTH,
        initial_indent=start,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _service_lines(diff: TraceDiff) -> list[Text]:
    rows = [Contrast(escaped(name), f"{a}", f"{b}", f"{b - a:+}") for name, a, b in diff.services]
    rows.append(Contrast("total", f"{len(diff.a.events)}", f"{len(diff.b.events)}"))
    return contrast_lines(rows, head="calls, where their number differs")
