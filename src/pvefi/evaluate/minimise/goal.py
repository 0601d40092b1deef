# SPDX-License-Identifier: GPL-2.0-or-later
"""What an image is to reach: its hand-off, its first process, or an end of its own with a status."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from pvefi.errors import UsageError
from pvefi.spec.uefi.status import EfiStatus
from pvefi.trace.values import Json
from pvefi.verdict import Milestone, Outcome

__all__ = ["Reach", "Wanted", "parse_goal"]


class Reach(StrEnum):
    """The kinds of goal, as they are typed."""

    HANDOFF = "handoff"
    USERSPACE = "userspace"
    EXIT = "exit"


@dataclass(frozen=True)
class Wanted:
    """A goal; `status` is the one that a program is to end with."""

    reach: Reach
    status: EfiStatus = EfiStatus.SUCCESS

    def __str__(self) -> str:
        """As it is typed."""
        return self.reach if self.reach is not Reach.EXIT else f"exit={self.status:#x}".replace("0x0", "0")

    def reached(self, boot: Mapping[str, Json]) -> bool:
        """Whether the boot that a document of `pvefi boot --json` tells of got there."""
        verdict, passed = boot.get("verdict"), boot.get("milestones")
        outcome = verdict.get("outcome") if isinstance(verdict, dict) else None
        match self.reach:
            case Reach.HANDOFF:
                return outcome == Outcome.HANDOFF.value
            case Reach.USERSPACE:
                return isinstance(passed, dict) and Milestone.USER_SPACE.value in passed
            case Reach.EXIT:
                status = verdict.get("status") if isinstance(verdict, dict) else None
                value = status.get("value") if isinstance(status, dict) else None
                return outcome == Outcome.EXITED.value and value == self.status


def parse_goal(text: str) -> Wanted:
    """Return the goal that was typed: handoff, userspace, exit=0 or with another status; UsageError."""
    name, sign, status = text.partition("=")
    if text in (Reach.HANDOFF, Reach.USERSPACE):
        return Wanted(Reach(text))
    if name == Reach.EXIT and sign:
        known = EfiStatus.__members__.get(status.removeprefix("EFI_"))
        if known is not None:
            return Wanted(Reach.EXIT, known)
        try:
            value = int(status, 0)
        except ValueError:
            value = -1
        if 0 <= value < 1 << 64:
            return Wanted(Reach.EXIT, EfiStatus(value))
    raise UsageError(
        f"expected a goal: handoff, userspace, or exit=STATUS such as exit=0, found {text!r:.60}", "--goal"
    )
