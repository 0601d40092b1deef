# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernel logs compared by entry: the lines that only some have, without what differs in any two boots.

Two lines are the same when they are without times, addresses and amounts. What a log has in one boot and not
in another of the same way is told as such: it says nothing of the entry.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pvefi.evaluate.analysis.facts import kernel_facts
from pvefi.evaluate.analysis.results import Way, of, short_names, shown, ways
from pvefi.evaluate.document import Cell, Mark, Section, Table, cell
from pvefi.evaluate.run import Evaluation, ImageFacts
from pvefi.probe.messages import WARNING, KernelMessage, normalised

__all__ = ["messages_section"]

_ROWS_AT_MOST = 150
_WORDS = ("emergency", "alert", "critical", "error", "warning", "notice", "info", "debug")
_NUMBER = re.compile(r"(?<![A-Za-z_])-?\d[\d.,:]*")
_COMMAND_LINE = re.compile(r"^(?:Kernel c|C)ommand line:|^Unknown kernel command line")


@dataclass(frozen=True)
class _Line:
    """A line of some log: the worst level at which it was told, and the boots of each way that have it."""

    text: str
    level: int
    boots: Mapping[Way, int]


def messages_section(evaluation: Evaluation) -> Section:
    """Return for each kernel and machine the lines of its log that only some ways have."""
    tables: list[Table] = []
    for image in evaluation.images:
        for machine in dict.fromkeys(way.machine for way in ways(evaluation, image)):
            logs = _logs(evaluation, image, machine)
            if len(logs) > 1:
                tables += _tables(f"{short_names(evaluation)[image.file.sha256]} on {machine}", logs)
    text = [
        "What behaves differently by entry, in the kernel's own words: lines of its log that not every way "
        "has, warnings first. Times, addresses and amounts are taken out before lines are compared.",
    ]
    if not tables:
        text.append("Not measured: no kernel told its log by two ways.")
    return Section(
        "messages", "What the kernel says differently", tuple(text), tuple(tables), short="Messages"
    )


def _logs(evaluation: Evaluation, image: ImageFacts, machine: str) -> dict[Way, list[list[KernelMessage]]]:
    """Return the logs of each way, one for each boot that told its own."""
    found: dict[Way, list[list[KernelMessage]]] = {}
    for way in ways(evaluation, image):
        if way.machine == machine:
            told = [kernel_facts(result) for result in of(evaluation, image, way)]
            logs = [list(facts.messages) for facts in told if facts is not None and facts.messages]
            if logs:
                found[way] = logs
    return found


def _tables(name: str, logs: Mapping[Way, Sequence[Sequence[KernelMessage]]]) -> list[Table]:
    """Return the lines that some ways have and others not; apart, those that one way does not always have."""
    lines = _lines(logs)
    whole = {way: len(some) for way, some in logs.items()}
    chance = [line for line in lines if any(0 < line.boots.get(way, 0) < whole[way] for way in logs)]
    steady = [line for line in lines if line not in chance]
    everywhere = [line for line in steady if all(line.boots.get(way) for way in logs)]
    different = [line for line in steady if line not in everywhere]
    warnings = sum(line.level <= WARNING for line in everywhere)
    about = f"{len(everywhere)} further lines are in every log, {warnings} of them warnings or worse."
    if once := [way.entry for way in logs if whole[way] == 1]:
        about += f" There is one log alone of {', '.join(once)}: what is special in it may be chance."
    tables = [_table(name, logs, different, about)]
    if chance:
        about = (
            "Some boots of one way have them and others not, as when instructions are counted and time goes "
            "by in another way: they say nothing of the entry."
        )
        tables.append(replace(_table(f"{name}: lines that come and go", logs, chance, about), folded=True))
    return tables


def _table(
    name: str, logs: Mapping[Way, Sequence[Sequence[KernelMessage]]], lines: Sequence[_Line], about: str
) -> Table:
    told = sorted(lines, key=lambda line: line.level if line.level <= WARNING else WARNING + 1)
    rows = tuple(
        (
            cell(_WORDS[line.level], Mark.BAD if line.level <= WARNING else Mark.NONE),
            *(_there(line.boots.get(way, 0), len(logs[way])) for way in logs),
            cell(shown(line.text)),
        )
        for line in told[:_ROWS_AT_MOST]
    )
    if len(told) > _ROWS_AT_MOST:
        about += f" {len(told) - _ROWS_AT_MOST} more are left out."
    return Table(name, ("level", *(way.entry for way in logs), "line"), rows, about)


def _there(boots: int, of_boots: int) -> Cell:
    if not boots:
        return Cell("no", 0, Mark.DIFFERS)
    return Cell("yes" if boots == of_boots else f"{boots} of {of_boots}", boots)


def _lines(logs: Mapping[Way, Sequence[Sequence[KernelMessage]]]) -> list[_Line]:
    """Return every line of any log, in the order of the first log that has it."""
    texts: dict[str, str] = {}
    levels: dict[str, int] = {}
    boots: dict[str, dict[Way, int]] = {}
    for way, some in logs.items():
        for log in some:
            seen = set()
            for message in log:
                if _COMMAND_LINE.search(message.text) or not message.text.strip():
                    continue
                text = normalised(message.text)
                key = _NUMBER.sub("#", text)
                texts.setdefault(key, text)
                levels[key] = min(levels.get(key, message.level), message.level)
                if key not in seen:
                    seen.add(key)
                    count = boots.setdefault(key, {})
                    count[way] = count.get(way, 0) + 1
    return [_Line(text, min(levels[key], len(_WORDS) - 1), boots[key]) for key, text in texts.items()]
