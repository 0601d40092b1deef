# SPDX-License-Identifier: GPL-2.0-or-later
"""Golden traces: what a whole boot asked for, in a normal form that survives a rebuild of its kernel.

A line is one call: service, the arguments that have names of their own (GUIDs, enumeration members, text) and
the status. Addresses, sizes and handles are left out. The first line tells what was booted.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from pathlib import Path

from pvefi.layout import Guid
from pvefi.trace.events import CallEvent
from pvefi.trace.spelling import spell

RENEW = "make golden"
_FOLDER = Path(__file__).parent
_MARK = "# "


@dataclass(frozen=True)
class Golden:
    """The recorded trace `name`: of what, and its lines."""

    name: str
    folder: Path = _FOLDER

    @property
    def path(self) -> Path:
        return self.folder / f"{self.name}.trace"

    def recorded_of(self) -> str:
        """Return what was booted for the recorded trace, '' where none is recorded."""
        if not self.path.exists():
            return ""
        return self.path.read_text("utf-8").partition("\n")[0].removeprefix(_MARK)

    def renew(self, booted: str, calls: Iterable[CallEvent]) -> None:
        """Record what `booted` called."""
        self.path.write_text("\n".join((_MARK + booted, *normal_form(calls), "")), "utf-8")

    def difference(self, booted: str, calls: Iterable[CallEvent]) -> str:
        """Return in what the calls of `booted` differ from the recorded ones, for people; '' in nothing."""
        if not self.path.exists():
            return f"{self.path} is missing: `{RENEW}` records it"
        recorded = self.path.read_text("utf-8").splitlines()[1:]
        found = list(normal_form(calls))
        if found == recorded:
            return ""
        of = self.recorded_of()
        other = "" if of == booted else "; they are not the same, and may have reason to differ"
        lines = difflib.unified_diff(recorded, found, f"recorded: {of}", f"found: {booted}", n=2, lineterm="")
        return "\n".join((f"the trace {self.name} was recorded of {of}, and compared with {booted}{other}.",
                          *lines, f"If the change is meant, `{RENEW}` records it anew."))  # fmt: skip


def normal_form(calls: Iterable[CallEvent]) -> Iterator[str]:
    """Yield one line a call, without anything that another build or place in memory changes."""
    for call in calls:
        named = [
            spell(value) for _, value in call.arguments if isinstance(value, Guid | str | IntEnum | IntFlag)
        ]
        end = "" if call.status is None else f" = {call.status.efi_name}"
        yield f"{'  ' * (call.depth - 1)}{call.service}({', '.join(named)}){end}"
