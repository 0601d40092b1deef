# SPDX-License-Identifier: GPL-2.0-or-later
"""Two traces compared by their calls: which correspond, what differs in those, and where it begins.

A longest common subsequence of equal calls (see `roles` for what is equal) is found first; between its
members, calls of one service correspond in order and are told part by part.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields

from pvefi.trace.alignment import matching
from pvefi.trace.events import CallEvent, Value
from pvefi.trace.jsonl import Trace, TraceHeader
from pvefi.trace.roles import ComparedCall, Origin, Part, compared_calls

__all__ = ["CallPair", "HeaderDifference", "PartDifference", "TraceDiff", "diff_traces"]


@dataclass(frozen=True)
class PartDifference:
    """A part of a call that differs; a side that lacks the part altogether has None."""

    kind: str
    name: str
    a: Part | None
    b: Part | None


@dataclass(frozen=True)
class CallPair:
    """A call of A and the one of B that corresponds to it; None where there is none."""

    a: ComparedCall | None
    b: ComparedCall | None
    differences: tuple[PartDifference, ...] = ()

    @property
    def equal(self) -> bool:
        """Whether the call is there on both sides and nothing compared differs."""
        return self.a is not None and self.b is not None and not self.differences


@dataclass(frozen=True)
class HeaderDifference:
    """A field of the two headers that differs."""

    field: str
    a: Value
    b: Value


@dataclass(frozen=True)
class TraceDiff:
    """Two traces and all that differs; `pairs` has every call, in an order that is that of both traces.

    Headers are told but not judged: two boots that are set up differently may well make the same calls.
    """

    a: Trace
    b: Trace
    header: tuple[HeaderDifference, ...]
    pairs: tuple[CallPair, ...]
    services: tuple[tuple[str, int, int], ...]
    """For each service whose number of calls differs: its name, calls in A, calls in B."""
    same_end: bool
    """Whether both boots ended alike: outcome and the image's status."""

    @property
    def equal(self) -> bool:
        """Whether both guests made the same calls, got the same answers and ended alike."""
        return self.same_end and all(pair.equal for pair in self.pairs)

    @property
    def first(self) -> CallPair | None:
        """The first call that differs, or is on one side only."""
        return next((pair for pair in self.pairs if not pair.equal), None)


def diff_traces(a: Trace, b: Trace) -> TraceDiff:
    """Return what differs between two traces; with A and B exchanged the answer is the same, exchanged."""
    calls_a, calls_b = compared_calls(a.events), compared_calls(b.events)
    return TraceDiff(
        a,
        b,
        header=tuple(_header_differences(a.header, b.header)),
        pairs=tuple(_pairs(calls_a, calls_b)),
        services=tuple(_service_differences(a.events, b.events)),
        same_end=_end(a) == _end(b),
    )


def _end(trace: Trace) -> Hashable:
    return trace.verdict and (trace.verdict.outcome, trace.verdict.status)


def _header_differences(a: TraceHeader, b: TraceHeader) -> Iterator[HeaderDifference]:
    for field in fields(TraceHeader):
        values = getattr(a, field.name), getattr(b, field.name)
        if values[0] != values[1]:
            yield HeaderDifference(field.name, *values)


def _service_differences(a: Sequence[CallEvent], b: Sequence[CallEvent]) -> Iterator[tuple[str, int, int]]:
    in_a, in_b = Counter(event.service for event in a), Counter(event.service for event in b)
    for service in sorted(in_a | in_b):
        if in_a[service] != in_b[service]:
            yield service, in_a[service], in_b[service]


def _pairs(a: Sequence[ComparedCall], b: Sequence[ComparedCall]) -> list[CallPair]:
    """Return all calls in pairs; of several ways that are as good, one that is the same for (b, a)."""
    if _order(b) < _order(a):
        return [_exchanged(pair) for pair in _pairs(b, a)]
    matched = _corresponding(a, b)
    partners = dict(matched)
    taken = set(partners.values())
    pairs: list[CallPair] = []
    x = y = 0
    for at, other in [*matched, (len(a), len(b))]:
        pairs += [CallPair(call, None) for call in a[x:at]]
        pairs += [CallPair(None, call) for call in b[y:other]]
        if at < len(a):
            differences = _part_differences(a[at], b[other], partners, taken)
            pairs.append(CallPair(a[at], b[other], tuple(differences)))
        x, y = at + 1, other + 1
    return pairs


def _order(calls: Sequence[ComparedCall]) -> tuple[int, list[str]]:
    return len(calls), [repr(call.key) for call in calls]


def _exchanged(pair: CallPair) -> CallPair:
    swapped = (PartDifference(one.kind, one.name, one.b, one.a) for one in pair.differences)
    return CallPair(pair.b, pair.a, tuple(swapped))


def _corresponding(a: Sequence[ComparedCall], b: Sequence[ComparedCall]) -> list[tuple[int, int]]:
    """Return the positions of calls that correspond: equal ones, then between them those of one service."""
    numbers: dict[Hashable, int] = {}
    equal = matching(*([numbers.setdefault(call.key, len(numbers)) for call in calls] for calls in (a, b)))
    found: list[tuple[int, int]] = []
    x = y = 0
    for at, other in [*equal, (len(a), len(b))]:
        services = (
            [numbers.setdefault(call.event.service, len(numbers)) for call in calls]
            for calls in (a[x:at], b[y:other])
        )
        found += [(x + one, y + two) for one, two in matching(*services)]
        found.append((at, other))
        x, y = at + 1, other + 1
    return found[:-1]


def _part_differences(
    a: ComparedCall, b: ComparedCall, partners: Mapping[int, int], taken: set[int]
) -> Iterator[PartDifference]:
    """Yield what differs between two calls that correspond: parts by kind and name, in A's order."""
    named_b = _named(b.parts)
    named_a = _named(a.parts)
    for name, part in named_a.items():
        other = named_b.get(name)
        if other is None or not _equal(part, other, partners, taken):
            yield PartDifference(part.kind, part.name, part, other)
    for name, other in named_b.items():
        if name not in named_a:
            yield PartDifference(other.kind, other.name, None, other)


def _named(parts: Sequence[Part]) -> dict[tuple[str, str, int], Part]:
    """Return the parts by kind, name, and which of that name."""
    seen: Counter[tuple[str, str]] = Counter()
    named = {}
    for part in parts:
        named[part.kind, part.name, seen[part.kind, part.name]] = part
        seen[part.kind, part.name] += 1
    return named


def _equal(a: Part, b: Part, partners: Mapping[int, int], taken: set[int]) -> bool:
    return a.key == b.key and _origins_correspond(a.origin, b.origin, partners, taken)


def _origins_correspond(
    a: Origin | None, b: Origin | None, partners: Mapping[int, int], taken: set[int]
) -> bool:
    """Whether both were given out by calls that correspond, or by calls neither of which has a partner."""
    if a is None or b is None:
        return a is b
    if a.position in partners:
        return partners[a.position] == b.position
    return b.position not in taken
