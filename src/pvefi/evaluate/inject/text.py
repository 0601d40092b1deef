# SPDX-License-Identifier: GPL-2.0-or-later
"""What `pvefi inject` has found, or would try, as lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.text import Text

from pvefi.evaluate.inject.document import Experiment, command_of
from pvefi.evaluate.inject.findings import Effect, Finding
from pvefi.evaluate.inject.plan import Injection
from pvefi.report.text import section
from pvefi.trace.columns import Cell, columns
from pvefi.trace.spelling import escaped

__all__ = ["finding_lines", "plan_lines"]

_STYLES = {Effect.HANGS: "bold red", Effect.CRASHES: "bold red", Effect.FAILS: "", Effect.GOES_ON: "green"}


def _head(made: Experiment) -> list[Text]:
    verdict = made.trunk.verdict
    outcome = f"without faults: {verdict.outcome.value}, {escaped(verdict.message)}"
    lines = [Text(outcome)]
    if made.plan.left_out:
        lines.append(Text(f"{made.plan.left_out:,} of its {made.trunk.calls_made:,} calls are not looked at"))
    return lines


def plan_lines(made: Experiment, width: int | None) -> list[Text]:
    """Return what would be tried, call by call."""
    rows: list[list[Cell]] = [_dim("number", "call", "faults")]
    calls: dict[int, list[Injection]] = {}
    for one in made.plan.injections:
        calls.setdefault(one.index, []).append(one)
    for index, own in calls.items():
        rows.append([str(index), str(own[0].place), ", ".join(_short(one) for one in own)])
    total = f"{len(made.plan.injections)} faults of {len(calls)} calls would be tried"
    return [*_head(made), Text(), *columns(rows, "><<", width=width), Text(), Text(total)]


def finding_lines(made: Experiment, width: int | None) -> list[Text]:
    """Return the findings: by service, by call, then each crash and hang with the line that repeats it."""
    return [
        *_head(made),
        *section(
            "by service",
            columns(_services(made), "<" + ">" * (1 + len(_effects(made))), width=width, indent=2),
        ),
        *section("by call", columns(_calls(made.findings), "<<<", width=width, indent=2)),
        *section("crashes and hangs", _bad(made)),
        Text(),
        Text(_total(made)),
    ]


def _dim(*headings: str) -> list[Cell]:
    return [Text(heading, "dim") for heading in headings]


def _short(injection: Injection) -> str:
    return injection.what.removeprefix("EFI_")


def _effects(made: Experiment) -> list[Effect]:
    return [effect for effect in Effect if made.count(effect)]


def _services(made: Experiment) -> Iterator[list[Cell]]:
    effects = _effects(made)
    yield _dim("service", "calls", *(effect.value for effect in effects))
    for service in dict.fromkeys(one.injection.fault.service for one in made.findings):
        own = [one for one in made.findings if one.injection.fault.service == service]
        counts = [sum(one.effect is effect for one in own) for effect in effects]
        calls = len({one.injection.index for one in own})
        yield [service, str(calls), *(str(count) if count else "" for count in counts)]


def _calls(findings: Sequence[Finding]) -> Iterator[list[Cell]]:
    yield _dim("call", "effect", "of (* with other calls than without the fault)")
    calls: dict[int, list[Finding]] = {}
    for one in findings:
        calls.setdefault(one.injection.index, []).append(one)
    alike: dict[tuple[str, tuple[tuple[Effect, str], ...]], list[int]] = {}
    for own in calls.values():
        alike.setdefault((own[0].injection.fault.service, _effects_of(own)), []).append(
            own[0].injection.place.call
        )
    for (service, effects), numbers in alike.items():
        name = f"{service}#{_ranges(numbers)}"
        for effect, faults in effects:
            yield [name, Text(effect.value, _STYLES.get(effect, "dim")), faults]
            name = ""


def _effects_of(findings: Sequence[Finding]) -> tuple[tuple[Effect, str], ...]:
    """Return what the faults of one call did, those of one effect together."""
    told = []
    for effect in Effect:
        same = [_short(one.injection) + _mark(one) for one in findings if one.effect is effect]
        if same:
            told.append((effect, ", ".join(same)))
    return tuple(told)


def _ranges(numbers: Sequence[int]) -> str:
    """Return ascending numbers as 1-3,5."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return ",".join("-".join(map(str, run)) for run in runs)


def _mark(one: Finding) -> str:
    if one.effect is Effect.GOES_ON:
        return "*" * one.differs
    return " (silent)" * (one.effect is Effect.FAILS and not one.said)


def _bad(made: Experiment) -> Iterator[Text]:
    for one in made.bad:
        yield Text.assemble(
            "  ",
            (str(one.injection.fault), "bold"),
            " ",
            (one.effect.value, _STYLES[one.effect]),
            f": {escaped(one.message)}",
        )
        hangs = one.effect is Effect.HANGS
        yield Text(f"    {escaped(command_of(made.options, one.injection, hangs=hangs))}")


def _total(made: Experiment) -> str:
    counts = ", ".join(f"{made.count(effect)} {effect.value}" for effect in _effects(made))
    return f"{len(made.findings)} faults tried: {counts or 'there is nothing to try'}"
