# SPDX-License-Identifier: GPL-2.0-or-later
"""Which EFI services an image calls and which protocols it asks for: by image, and over all images.

A boot's calls are those of the way that made most of them: to user space where an image came so far.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from pvefi.evaluate.analysis.calls import ASKING, Call, calls_with
from pvefi.evaluate.analysis.results import Way, of, short_names, shown, ways
from pvefi.evaluate.document import Cell, Mark, Picture, PictureKind, Section, Table, cell
from pvefi.evaluate.run import Evaluation, ImageFacts
from pvefi.trace.values import Json

__all__ = ["services_section"]

_ROWS_AT_MOST = 200
_REASONS_SHOWN = 3
_BY_EFI = ("efi", "efi-handover")

Column = tuple[str, Sequence[Call]]


def services_section(evaluation: Evaluation) -> Section:
    """Return the services and protocols of every image, and the matrix over all of them."""
    names = short_names(evaluation)
    columns: list[Column] = []
    details: list[Table] = []
    for image in evaluation.images:
        by_way = {way: calls for way in ways(evaluation, image) if (calls := _calls(evaluation, image, way))}
        best = _most(by_way)
        if best is None:
            continue
        name = names[image.file.sha256]
        columns.append((name, by_way[best]))
        details.append(_services(f"{name} by {best}: services", by_way[best]))
        if len(by_way) > 1:
            details.append(_by_entry(name, by_way))
        asked = _protocols(f"{name} by {best}: protocols", by_way[best])
        details += [asked] if asked.rows else []
    parts: list[Table | Picture] = []
    if columns:
        parts.append(_matrix("Services by image", "service", columns, lambda call: call.service))
        protocols = _matrix("Protocols by image", "protocol", columns, _protocol)
        parts += [protocols] if protocols.records else []
    text = [
        "Which services does this binary need? Calls that pvefi answered, by name; each image by the entry "
        "and on the machine by which it made most calls. A service that is not here was never called. Asking "
        "for a size with a buffer that is too small is no refusal.",
    ]
    cut = [told for image in evaluation.images if (told := _cut(evaluation, image, names[image.file.sha256]))]
    if cut:
        text.append(f"Of very many calls the first and the last are kept and counted: {'; '.join(cut)}.")
    silent = [
        names[image.file.sha256] for image in evaluation.images if not any(_all_calls(evaluation, image))
    ]
    if silent:
        text.append(f"No call was recorded of: {', '.join(silent)}.")
    return Section(
        "services", "Which EFI services each image calls", tuple(text), (*parts, *details), short="Services"
    )


def _calls(evaluation: Evaluation, image: ImageFacts, way: Way) -> tuple[Call, ...]:
    return calls_with(of(evaluation, image, way))


def _all_calls(evaluation: Evaluation, image: ImageFacts) -> list[tuple[Call, ...]]:
    return [_calls(evaluation, image, way) for way in ways(evaluation, image)]


def _cut(evaluation: Evaluation, image: ImageFacts, name: str) -> str:
    """Say how many calls of an image are counted, where a boot of it made more; empty where none did."""
    for result in of(evaluation, image):
        made = result.boot.get("calls_made")
        if isinstance(made, int) and made > len(result.calls) > 0:
            return f"{name} {len(result.calls):,} of {made:,}"
    return ""


def _most(by_way: Mapping[Way, Sequence[Call]]) -> Way | None:
    """Return the way whose calls stand for the image: one with boot services, with the most calls."""
    return max(by_way, key=lambda way: (way.entry in _BY_EFI, len(by_way[way])), default=None)


def _protocol(call: Call) -> str:
    return call.guid if call.service in ASKING else ""


def _matrix(title: str, what: str, columns: Sequence[Column], key: Callable[[Call], str]) -> Picture:
    """Return how often each image did something; '' of `key` is nothing to count."""
    counts = {name: Counter(told for call in calls if (told := key(call))) for name, calls in columns}
    refused = {
        name: Counter(told for call in calls if call.refused and (told := key(call)))
        for name, calls in columns
    }
    total = Counter[str]()
    for one in counts.values():
        total.update(dict.fromkeys(one, 1))
    rows_by_name = sorted(total, key=lambda told: (-total[told], told))[:_ROWS_AT_MOST]
    records: list[Mapping[str, Json]] = []
    rows = []
    for told in rows_by_name:
        cells = []
        for name, _ in columns:
            count, failed = counts[name][told], refused[name][told]
            records.append({"row": told, "column": name, "value": count})
            note = f"{failed} of them refused" if failed else ""
            cells.append(Cell(f"{count:,}" if count else "-", count, Mark.NONE, note))
        rows.append((cell(told), cell(total[told]), *cells))
    headings = (what, "images", *(name for name, _ in columns))
    about = "Calls of each; images: how many did so at all."
    numeric = frozenset(range(1, len(headings)))
    table = Table(title, headings, tuple(rows), about, numeric)
    return Picture(title, PictureKind.HEAT_MAP, tuple(records), table, about)


def _services(title: str, calls: Sequence[Call]) -> Table:
    alike: dict[str, list[Call]] = {}
    for call in calls:
        alike.setdefault(call.service, []).append(call)
    rows = []
    for service, some in list(alike.items())[:_ROWS_AT_MOST]:
        times = [call.microseconds for call in some if call.microseconds is not None]
        rows.append(
            (
                cell(service),
                cell(some[0].index),
                cell(len(some)),
                cell(round(sum(times))) if times else Cell("-", None, Mark.MISSING),
                *_refusals(some),
            )
        )
    headings = ("service", "first call", "calls", "host, us", "refused", "why")
    about = "In the order of the first call, which is told by its number."
    return Table(title, headings, tuple(rows), about, frozenset({1, 2, 3, 4}), folded=True)


def _refusals(calls: Sequence[Call]) -> tuple[Cell, Cell]:
    refused = [call for call in calls if call.refused]
    reasons = Counter(f"{call.status}: {call.why}" if call.why else call.status for call in refused)
    listed = "; ".join(
        f"{reason} ({count})" if count > 1 else reason
        for reason, count in reasons.most_common(_REASONS_SHOWN)
    )
    listed += "; …" if len(reasons) > _REASONS_SHOWN else ""
    return cell(len(refused)), cell(shown(listed) or None)


def _by_entry(name: str, by_way: Mapping[Way, Sequence[Call]]) -> Table:
    """Return how often each way of one image called what."""
    counts = {way: Counter(call.service for call in calls) for way, calls in by_way.items()}
    services = list(dict.fromkeys(call.service for calls in by_way.values() for call in calls))
    rows = []
    for service in services[:_ROWS_AT_MOST]:
        values = [one[service] for one in counts.values()]
        rows.append(
            (
                cell(service),
                *(
                    Cell(f"{value:,}", value, Mark.NONE if value == values[0] else Mark.DIFFERS)
                    for value in values
                ),
            )
        )
    return Table(
        f"{name}: services by entry",
        ("service", *map(str, counts)),
        tuple(rows),
        "Calls, each way by the boot of it that made most.",
        frozenset(range(1, len(counts) + 1)),
        folded=True,
    )


def _protocols(title: str, calls: Sequence[Call]) -> Table:
    alike: dict[str, list[Call]] = {}
    for call in calls:
        if _protocol(call):
            alike.setdefault(call.guid, []).append(call)
    rows = []
    for protocol, some in list(alike.items())[:_ROWS_AT_MOST]:
        found = sum(not call.refused for call in some)
        by = ", ".join(dict.fromkeys(call.service for call in some))
        rows.append(
            (
                cell(protocol),
                cell(len(some)),
                Cell(f"{found:,}", found, Mark.GOOD if found else Mark.BAD),
                cell(by),
                _refusals(some)[1],
            )
        )
    headings = ("protocol", "asked for", "found", "by", "why not")
    about = "Protocols by the names of their GUIDs, in the order in which they were first asked for."
    return Table(title, headings, tuple(rows), about, frozenset({1, 2}), folded=True)
