# SPDX-License-Identifier: GPL-2.0-or-later
"""What came of each fault: whether the image fails cleanly, goes on, hangs or crashes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from pvefi.efi.intervention import FaultKind
from pvefi.evaluate.branches import BranchEnd, BranchResult
from pvefi.evaluate.inject.plan import Injection
from pvefi.spec.uefi.status import EfiStatus
from pvefi.trace.events import INJECTED, CallEvent
from pvefi.verdict import BootResult, Outcome, Verdict

__all__ = ["BAD", "Effect", "Finding", "finding", "not_reached"]

_HANGS = (Outcome.BLOCKED, Outcome.TIMED_OUT)
_CRASHES = (Outcome.FAULTED, Outcome.HALTED, Outcome.BAD_REQUEST, Outcome.DIED)
_LINE_SHOWN = 200  # characters


class Effect(StrEnum):
    """What a fault does to a boot."""

    FAILS = "fails cleanly"
    """The image ends by itself, short of where the boot without the fault gets."""
    GOES_ON = "goes on"
    """The boot ends as it does without the fault."""
    HANGS = "hangs"
    """It does not end: it loops until its time is up, or waits for what never comes."""
    CRASHES = "crashes"
    """The guest's CPU faults or halts, it gives a service what is no memory of its, or the emulator dies."""
    NO_EFFECT = "no effect"
    """The call came to be served as it would have been without the fault, or was not reached."""
    NOT_TRIED = "not tried"
    """The boot could not be carried out."""


BAD = (Effect.HANGS, Effect.CRASHES)


@dataclass(frozen=True)
class Finding:
    """What came of one fault.

    `message` is the verdict on the boot, `status` what the image ended with, where it did. `said` is the last
    line that it wrote after the fault. `differs` tells that it went on with other calls than without the
    fault. `seconds` are of CPU time.
    """

    injection: Injection
    effect: Effect
    message: str
    status: EfiStatus | None
    said: str
    differs: bool
    seconds: float


def finding(injection: Injection, result: BranchResult, trunk: BootResult) -> Finding:
    """Return what came of `injection`, of whose boot `result` tells; `trunk` is the one without the fault."""
    boot = result.boot
    if boot is None:
        effect = {BranchEnd.HUNG: Effect.HANGS, BranchEnd.DIED: Effect.CRASHES}.get(
            result.end, Effect.NOT_TRIED
        )
        return Finding(
            injection, effect, result.why, None, _last_line(result.console), False, result.cpu_seconds
        )
    effect = _effect(boot.verdict, trunk.verdict)
    if injection.fault.kind is not FaultKind.EXHAUSTED and not _injected(boot.calls, injection.index):
        effect = Effect.NO_EFFECT
    return Finding(
        injection,
        effect,
        boot.verdict.message,
        boot.verdict.status,
        _last_line(result.console),
        _after(boot.calls, injection.index) != _after(trunk.calls, injection.index),
        result.cpu_seconds,
    )


def not_reached(injection: Injection) -> Finding:
    """Return the finding of a call that the boot did not make a second time."""
    return Finding(injection, Effect.NO_EFFECT, "the call was not reached", None, "", False, 0.0)


def _effect(verdict: Verdict, without: Verdict) -> Effect:
    if verdict.outcome in _CRASHES and without.outcome is not verdict.outcome:
        return Effect.CRASHES
    if verdict.outcome in _HANGS and without.outcome is not verdict.outcome:
        return Effect.HANGS
    same = verdict.outcome is without.outcome and verdict.status == without.status
    return Effect.GOES_ON if same else Effect.FAILS


def _injected(calls: Sequence[CallEvent], index: int) -> bool:
    return any(event.index == index and event.why.startswith(INJECTED) for event in calls)


def _after(calls: Sequence[CallEvent], index: int) -> list[tuple[str, EfiStatus | None]]:
    return [(event.service, event.status) for event in sorted(calls, key=_number) if event.index > index]


def _number(event: CallEvent) -> int:
    return event.index


def _last_line(console: str) -> str:
    lines = [line.strip() for line in console.splitlines()]
    return next((line for line in reversed(lines) if line), "")[:_LINE_SHOWN]
