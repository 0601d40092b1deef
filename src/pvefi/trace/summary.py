# SPDX-License-Identifier: GPL-2.0-or-later
"""A trace in numbers, in the way of strace -c: calls and host time by service, and what was refused why."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from rich.console import Console
from rich.text import Text

from pvefi.layout import Guid
from pvefi.spec.uefi.status import EfiStatus
from pvefi.trace.columns import Cell, columns, print_lines, width_of
from pvefi.trace.events import NOT_IMPLEMENTED, OUTSIDE_PROFILE, CallEvent
from pvefi.trace.show import is_refusal
from pvefi.trace.spelling import escaped, spell
from pvefi.trace.values import Json

__all__ = [
    "Gap",
    "Refusal",
    "ServiceUse",
    "Summary",
    "refusal_lines",
    "render",
    "service_lines",
    "summarize",
    "to_json",
]

NOT_FOUND = "not found"
OTHER = "other reasons"

_GAPS_SHOWN = 5
_WIDTH = 100
_SPARE = (3, 2, 0, 5, 6)  # the largest time, the median, the share, the refused, and instructions
_CUT = "..."


@dataclass(frozen=True)
class ServiceUse:
    """The calls of one service; times are the host's, in microseconds.

    `instructions` is what the guest executed since the call before, summed over the calls of this service;
    None when not counted.
    """

    service: str
    calls: int
    refused: int
    total_us: float
    median_us: float
    max_us: float
    instructions: int | None


@dataclass(frozen=True)
class Refusal:
    """Calls that were refused alike; `subject` is the GUIDs and names that they asked for."""

    kind: str
    service: str
    subject: str
    status: str
    why: str
    calls: int


@dataclass(frozen=True)
class Gap:
    """A stretch in which the guest made no call: instructions between the calls `after` and `before`.

    `after` is None for the stretch from the guest's first instruction.
    """

    after: CallEvent | None
    before: CallEvent
    instructions: int


@dataclass(frozen=True)
class Summary:
    """All calls of one trace; services by total time, refusals in the order first met, gaps by length."""

    calls: int
    refused: int
    host_us: float
    services: tuple[ServiceUse, ...]
    refusals: tuple[Refusal, ...]
    gaps: tuple[Gap, ...]


def summarize(events: Sequence[CallEvent]) -> Summary:
    """Return the summary of `events`, which stand in the order the guest made them."""
    gaps = _gaps(events)
    before: defaultdict[str, int] = defaultdict(int)
    for gap in gaps:
        before[gap.before.service] += gap.instructions
    counted = any(event.instructions is not None for event in events)
    by_service: defaultdict[str, list[CallEvent]] = defaultdict(list)
    for event in events:
        by_service[event.service].append(event)
    uses = [_use(name, calls, before[name] if counted else None) for name, calls in by_service.items()]
    return Summary(
        calls=len(events),
        refused=sum(map(is_refusal, events)),
        host_us=sum(event.host_us for event in events),
        services=tuple(sorted(uses, key=lambda use: use.total_us, reverse=True)),
        refusals=_refusals(events),
        gaps=tuple(sorted(gaps, key=lambda gap: gap.instructions, reverse=True)),
    )


def _use(service: str, calls: Sequence[CallEvent], instructions: int | None) -> ServiceUse:
    times = [event.host_us for event in calls]
    refused = sum(map(is_refusal, calls))
    return ServiceUse(service, len(calls), refused, sum(times), median(times), max(times), instructions)


def _gaps(events: Sequence[CallEvent]) -> list[Gap]:
    gaps = [
        Gap(after, before, before.instructions - after.instructions)
        for after, before in pairwise(events)
        if after.instructions is not None and before.instructions is not None
    ]
    if events and events[0].instructions is not None:
        gaps.insert(0, Gap(None, events[0], events[0].instructions))
    return gaps


def _refusals(events: Iterable[CallEvent]) -> tuple[Refusal, ...]:
    alike = Counter(
        (_kind(event), event.service, _subject(event), _status_text(event), event.why)
        for event in events
        if is_refusal(event)
    )
    return tuple(Refusal(*key, calls=calls) for key, calls in alike.items())


def _kind(event: CallEvent) -> str:
    for kind in (OUTSIDE_PROFILE, NOT_IMPLEMENTED):
        if kind in event.why:
            return kind
    return NOT_FOUND if event.status == EfiStatus.NOT_FOUND else OTHER


def _status_text(event: CallEvent) -> str:
    return "" if event.status is None else event.status.efi_name


def _subject(event: CallEvent) -> str:
    return ", ".join(spell(value) for _, value in event.arguments if isinstance(value, (Guid, str)))


def to_json(summary: Summary) -> dict[str, Json]:
    """Return the summary as one JSON document."""
    services: list[Json] = [
        {
            "service": use.service,
            "calls": use.calls,
            "refused": use.refused,
            "total_us": round(use.total_us, 3),
            "median_us": round(use.median_us, 3),
            "max_us": round(use.max_us, 3),
            "instructions": use.instructions,
        }
        for use in summary.services
    ]
    refusals: list[Json] = [
        {
            "kind": refusal.kind,
            "service": refusal.service,
            "subject": refusal.subject,
            "status": refusal.status,
            "why": refusal.why,
            "calls": refusal.calls,
        }
        for refusal in summary.refusals
    ]
    gaps: list[Json] = [
        {
            "after": gap.after.index if gap.after else None,
            "before": gap.before.index,
            "instructions": gap.instructions,
        }
        for gap in summary.gaps[:_GAPS_SHOWN]
    ]
    return {
        "schema": "pvefi/trace-summary",
        "version": 1,
        "calls": summary.calls,
        "refused": summary.refused,
        "host_us": round(summary.host_us, 3),
        "services": services,
        "refusals": refusals,
        "gaps": gaps,
    }


def render(summary: Summary, console: Console) -> None:
    """Print the summary."""
    table = service_lines(summary, width=width_of(console))
    print_lines([*table, *refusal_lines(summary), *_gap_lines(summary)], console)


def service_lines(summary: Summary, indent: int = 0, width: int | None = None) -> list[Text]:
    """Return the table of services with its total.

    Where `width` has no room for it, names are cut from the left up to their last part; where that does not
    do, some of the columns are left out.
    """
    counted = any(use.instructions is not None for use in summary.services)
    head = ["% time", "total us", "median us", "max us", "calls", "refused"]
    head += ["instr before"] * counted + ["service"]
    rows: list[list[Cell]] = [[Text(title, "bold") for title in head]]
    for use in summary.services:
        share = 100 * use.total_us / summary.host_us if summary.host_us else 0.0
        rows.append(
            [
                f"{share:.1f}",
                f"{use.total_us:.0f}",
                f"{use.median_us:.0f}",
                f"{use.max_us:.0f}",
                f"{use.calls}",
                Text(f"{use.refused}" if use.refused else "", "red"),
                *([f"{use.instructions:,}"] if use.instructions is not None else []),
                escaped(use.service),
            ]
        )
    total: list[Cell] = ["", f"{summary.host_us:.0f}", "", "", f"{summary.calls}", f"{summary.refused}"]
    if counted:
        total.append(f"{sum(use.instructions or 0 for use in summary.services):,}")
    rows.append([*total, "total"])
    sides = ">>>>>>" + ">" * counted + "<"
    names = [escaped(use.service) for use in summary.services]
    least = max((len(_last_part(name)) for name in names), default=0)
    spare = _SPARE if counted else _SPARE[:-1]
    return columns(rows, sides, indent=indent, width=width, spare=spare, least=least, fold=_cut_left)


def _last_part(name: str) -> str:
    head, dot, last = name.rpartition(".")
    return f"{_CUT}{last}" if dot and len(head) >= len(_CUT) else name


def _cut_left(name: Text, width: int) -> list[Text]:
    """Return the end of a service's name, where the name has more than `width`."""
    over = name.cell_len - width
    return [Text(_CUT).append_text(name[over + len(_CUT) :]) if over > 0 else name]


def refusal_lines(summary: Summary) -> list[Text]:
    """Return what was refused, under a title for each kind; each begins with an empty line."""
    lines = []
    for kind in (OUTSIDE_PROFILE, NOT_IMPLEMENTED, NOT_FOUND, OTHER):
        alike = [refusal for refusal in summary.refusals if refusal.kind == kind]
        if not alike:
            continue
        lines += [Text(), Text(f"refused: {kind}", "bold")]
        width = len(str(max(refusal.calls for refusal in alike)))
        for refusal in alike:
            lines += [Text(line, no_wrap=True) for line in _refusal(refusal, width)]
    return lines


def _refusal(refusal: Refusal, width: int) -> list[str]:
    """Return the line of a refusal; its reason on one of its own where both do not fit."""
    status = f" = {refusal.status}" if refusal.status else ""
    line = f"  {refusal.calls:>{width}}  {escaped(refusal.service)}({refusal.subject}){status}"
    if not refusal.why or refusal.kind in (OUTSIDE_PROFILE, NOT_IMPLEMENTED):
        return [line]
    why = f"({escaped(refusal.why)})"
    both = f"{line} {why}"
    return [both] if len(both) <= _WIDTH else [line, " " * (width + 6) + why]


def _gap_lines(summary: Summary) -> list[Text]:
    gaps = [gap for gap in summary.gaps[:_GAPS_SHOWN] if gap.instructions > 0]
    if not gaps:
        return []
    rows: list[list[Cell]] = [[f"{gap.instructions:,}", f"before {_named(gap)}"] for gap in gaps]
    head = Text("longest without a call, in guest instructions", "bold")
    return [Text(), head, *columns(rows, "><", indent=2)]


def _named(gap: Gap) -> str:
    after = "the first call" if gap.after is None else f"after {gap.after.index} {escaped(gap.after.service)}"
    return f"{gap.before.index} {escaped(gap.before.service)}, {after}"
