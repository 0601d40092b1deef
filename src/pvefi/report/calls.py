# SPDX-License-Identifier: GPL-2.0-or-later
"""The service calls of a boot in its report: counts, refusals, and the last ones before a bad end."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from pvefi.report.text import section
from pvefi.trace.events import CallEvent
from pvefi.trace.jsonl import event_to_json
from pvefi.trace.show import call_lines
from pvefi.trace.summary import refusal_lines, service_lines, summarize, to_json
from pvefi.trace.values import Json

__all__ = ["call_count_lines", "calls_to_json", "last_call_lines"]

_LAST = 8


def last_call_lines(calls: Sequence[CallEvent]) -> list[Text]:
    """Return the last calls, a line each, with their numbers."""
    return [Text("  ").append_text(line) for line in call_lines(calls[-_LAST:])]


def call_count_lines(calls: Sequence[CallEvent], width: int | None = None) -> list[Text]:
    """Return the table of services, then what was refused."""
    summary = summarize(calls)
    lines = service_lines(summary, indent=2, width=width) if calls else [Text("  none", "dim")]
    return [*section("calls", lines), *refusal_lines(summary)]


def calls_to_json(calls: Sequence[CallEvent]) -> Json:
    """Return the counts by service, the refusals, and the last calls."""
    counts = to_json(summarize(calls))
    return {
        "count": counts["calls"],
        **{name: counts[name] for name in ("refused", "host_us", "services", "refusals", "gaps")},
        "last": [event_to_json(event) for event in calls[-_LAST:]],
    }
