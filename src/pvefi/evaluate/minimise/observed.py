# SPDX-License-Identifier: GPL-2.0-or-later
"""What came of one boot of an experiment, and in what it differs from another one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pvefi.errors import UsageError
from pvefi.evaluate.minimise.calls import Call, call_of
from pvefi.evaluate.minimise.goal import Wanted
from pvefi.probe.messages import kernel_messages, normalised
from pvefi.report.boot_document import boot_document
from pvefi.report.handoff_diff import diff_boots
from pvefi.report.json_node import Node
from pvefi.trace.spelling import escaped
from pvefi.trace.values import Json

__all__ = ["Observed", "differences", "failed", "observed", "shortfall"]

_SHOWN = 160  # characters of a line, and lines of a kind
_KINDS_SHOWN = 12
_MEASURED = re.compile(r"(?<![\w.])\d+\.\d+|\d{2,}(?:\.\d+)?(?=[a-zA-Z: )]|$)|\b\d+ ?[mun]?s\b")
_BY_PLACE = ("e820", "EFI memory map")
"""The hand-off's maps interval by interval, of which the amounts by type say what is not about places."""


@dataclass(frozen=True)
class Observed:
    """One boot: whether it reached the goal, how it ended in words, and what it did on the way.

    `boot` is its document, empty where there was no boot to tell of. `log` are the kernel's messages without
    times and addresses; None where nobody looked. `seconds` is how long it took by the clock, from where it
    parted from another one.
    """

    reached: bool
    how: str
    calls: tuple[Call, ...] = ()
    boot: Mapping[str, Json] = field(default_factory=dict)
    log: tuple[str, ...] | None = None
    seconds: float = 0.0


def observed(
    wanted: Wanted,
    boot: Mapping[str, Json],
    lines: Iterable[Mapping[str, Json]],
    log: bytes | None = None,
    seconds: float = 0.0,
) -> Observed:
    """Return what came of a boot with this document, the calls of its trace and its kernel's log."""
    verdict = boot.get("verdict")
    how = "no verdict"
    if isinstance(verdict, dict):
        how = f"{verdict.get('outcome')}: {verdict.get('message')}"
    calls = tuple(call_of(line) for line in sorted(lines, key=_index))
    messages = None if log is None else tuple(_messages(log))
    return Observed(wanted.reached(boot), _line(how), calls, boot, messages, seconds)


def failed(why: str, seconds: float = 0.0) -> Observed:
    """Return what came of a boot that came to no end of its own."""
    return Observed(False, _line(why), seconds=seconds)


def shortfall(base: Observed, other: Observed) -> str:
    """Return why `other` has not reached what `base` has, empty where it has.

    A kernel that gets another command line or initial ramdisk than it was to have is not where it was to be.
    """
    if not other.reached:
        return other.how
    before, after = (_given(one.boot) for one in (base, other))
    lacking = [name for name in before if before[name] != after.get(name)]
    return f"{other.how}, but without its {' and '.join(lacking)}" if lacking else ""


def _given(boot: Mapping[str, Json]) -> dict[str, Json]:
    handoff = boot.get("handoff")
    if not isinstance(handoff, dict):
        return {}
    initrd = handoff.get("initrd")
    digest = initrd.get("sha256") if isinstance(initrd, dict) else None
    return {"command line": handoff.get("command_line"), "initial ramdisk": digest}


def differences(base: Observed, other: Observed) -> tuple[str, ...]:
    """Return in what another boot differs from `base`, a line each; both have reached the goal.

    Refusals are no difference, nor are addresses: calls that are made or not made, what is written on the
    console, what the kernel is handed, and its messages where both are known.
    """
    found = [*_calls(base, other), *_said(base, other), *_handoff(base, other)]
    if base.log is not None and other.log is not None:
        found += _lines("kernel log", base.log, other.log)
    return tuple(found)


def _index(line: Mapping[str, Json]) -> int:
    index = line.get("index")
    return index if isinstance(index, int) else 0


def _messages(log: bytes) -> Iterator[str]:
    """Yield the kernel's messages without what differs from boot to boot, times that were measured, too."""
    text = log.decode("utf-8", "replace")
    for message in kernel_messages(text.splitlines()):
        yield _MEASURED.sub("…", normalised(message.text))


def _calls(base: Observed, other: Observed) -> Iterator[str]:
    # What a refused call was about is not known: its arguments were never read.
    bare = {call.service for one in (base, other) for call in one.calls if not call.subject}
    before, after = _counted(base.calls, bare), _counted(other.calls, bare)
    for what in dict.fromkeys([*before, *after]):
        if before[what] != after[what]:
            yield _line(f"calls {what} {_times(after[what])}, not {_times(before[what])}")


def _counted(calls: Iterable[Call], bare: Collection[str]) -> Counter[str]:
    return Counter(
        call.service if call.service in bare else f"{call.service}({call.subject})" for call in calls
    )


def _times(count: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(count, f"{count} times")


def _said(base: Observed, other: Observed) -> Iterator[str]:
    yield from _lines("console", _written(base.calls), _written(other.calls))


def _written(calls: Iterable[Call]) -> tuple[str, ...]:
    return tuple(line.strip() for line in "".join(call.said for call in calls).splitlines() if line.strip())


def _lines(what: str, before: Sequence[str], after: Sequence[str]) -> list[str]:
    """Return what lines are gone and which are new, those that are there several times by their number."""
    lost, new = Counter(before) - Counter(after), Counter(after) - Counter(before)
    told = [f'{what} lacks "{line}"' for line in lost]
    told += [f'{what} has "{line}"' for line in new]
    if len(told) > _KINDS_SHOWN:
        left = len(told) - _KINDS_SHOWN
        told = [*told[:_KINDS_SHOWN], f"{what}: {left} further lines differ"]
    return [_line(one) for one in told]


def _handoff(base: Observed, other: Observed) -> Iterator[str]:
    if not base.boot.get("handoff") and not other.boot.get("handoff"):
        return
    try:
        diff = diff_boots(*(boot_document(Node(dict(one.boot), "a boot")) for one in (base, other)))
    except UsageError as error:
        yield _line(f"hand-off cannot be compared: {error}")
        return
    for row in diff.differences:
        if not row.moved and row.section not in _BY_PLACE:
            yield _line(f"hand-off: {row.section} {row.name}: {row.texts[1]}, not {row.texts[0]}")


def _line(text: str) -> str:
    shown = escaped(text)
    return shown if len(shown) <= _SHOWN else f"{shown[: _SHOWN - 1]}…"
