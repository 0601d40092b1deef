# SPDX-License-Identifier: GPL-2.0-or-later
"""What `pvefi inject` has found as sections of tables, from its document."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

from pvefi.evaluate.document import Cell, Mark, Section, Table, cell
from pvefi.evaluate.inject.findings import Effect
from pvefi.report.json_node import Node

__all__ = ["sections"]

_SHOWN = (Effect.FAILS, Effect.GOES_ON, Effect.HANGS, Effect.CRASHES, Effect.NO_EFFECT, Effect.NOT_TRIED)
_BAD = (Effect.HANGS.value, Effect.CRASHES.value)


def sections(document: Node) -> tuple[Section, ...]:
    """Return the findings by service, by call, and each crash and hang; UsageError for no such document."""
    findings = document.member("findings").elements()
    effects = [
        effect
        for effect in _SHOWN
        if effect in _SHOWN[:4] or document.member("effects").member(effect.value).number()
    ]
    parts = (_by_service(document, effects), _by_call(findings))
    return (
        Section("inject", "Fault injection", _text(document), parts),
        *([Section("inject-bad", "Crashes and hangs", (), (_bad(findings),))] if _any_bad(findings) else []),
    )


def _text(document: Node) -> tuple[str, ...]:
    without = document.member("without_faults")
    left_out = without.member("calls_left_out").number()
    tried = len(document.member("findings").elements())
    text = (
        f"{PurePath(document.member('image').text()).name}, entry {document.member('entry').text()}, seed "
        f"{document.member('seed').number()}: without faults {without.member('outcome').text()} after "
        f"{without.member('calls').number()} calls. {tried} faults were tried, each in a boot of its own."
    )
    more = f"The boot makes many calls: {left_out} of them were not looked at."
    return (text, more) if left_out else (text,)


def _by_service(document: Node, effects: Sequence[Effect]) -> Table:
    rows = []
    for service in document.member("services").elements():
        counts = [service.member("effects").member(effect.value).number() for effect in effects]
        rows.append(
            (
                cell(service.member("service").text()),
                cell(service.member("calls").number()),
                *(_count(count, effect) for count, effect in zip(counts, effects, strict=True)),
            )
        )
    headings = ("service", "calls", *(effect.value for effect in effects))
    numeric = frozenset(range(1, len(headings)))
    return Table("By service", headings, tuple(rows), "How many faults had which effect.", numeric)


def _count(count: int, effect: Effect) -> Cell:
    return cell(count, Mark.BAD if count and effect.value in _BAD else Mark.NONE)


def _by_call(findings: Sequence[Node]) -> Table:
    faults = sorted(dict.fromkeys(_what(one) for one in findings), key=str.islower)
    calls: dict[int, dict[str, Node]] = {}
    for one in findings:
        calls.setdefault(one.member("call").number(), {})[_what(one)] = one
    rows = []
    for index, own in calls.items():
        first = next(iter(own.values()))
        name = f"{first.member('service').text()}#{first.member('call_of_service').number()}"
        cells = [_effect(own[fault]) if fault in own else Cell("", None) for fault in faults]
        rows.append((cell(name), cell(index), *cells))
    about = (
        "Which fault of which call had which effect; * marks where the image went on with other calls than "
        "without the fault, silent where it ended without having written a word since. An empty field is a "
        "fault that does not apply."
    )
    return Table("By call", ("call", "number", *faults), tuple(rows), about, frozenset({1}))


def _effect(one: Node) -> Cell:
    effect = one.member("effect").text()
    other = effect == Effect.GOES_ON.value and one.member("other_calls_follow").value is True
    silent = effect == Effect.FAILS.value and not one.member("said").text()
    text = effect + "*" * other + ", silent" * silent
    return Cell(text, effect, Mark.BAD if effect in _BAD else Mark.NONE)


def _what(one: Node) -> str:
    status = one.member("status").value
    return status.removeprefix("EFI_") if isinstance(status, str) else one.member("kind").text()


def _any_bad(findings: Sequence[Node]) -> bool:
    return any(one.member("effect").text() in _BAD for one in findings)


def _bad(findings: Sequence[Node]) -> Table:
    rows = tuple(
        (
            cell(one.member("fault").text()),
            cell(one.member("effect").text(), Mark.BAD),
            cell(one.member("message").text()),
            cell(one.member("command").text()),
        )
        for one in findings
        if one.member("effect").text() in _BAD
    )
    about = "The command repeats the boot with this one fault."
    return Table("Crashes and hangs", ("fault", "effect", "what happened", "command"), rows, about)
