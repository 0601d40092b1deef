# SPDX-License-Identifier: GPL-2.0-or-later
"""Made-up boots, read back from their documents, and what differs between them."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from pvefi.report.boot import to_json
from pvefi.report.boot_document import BootDocument, HandoffDocument, read_boot
from pvefi.report.handoff_diff import HandoffDiff, diff_boots
from pvefi.report.handoff_row import Row
from pvefi.verdict import BootResult
from tests.report.made import handoff, result

__all__ = ["boot", "compare", "given", "names", "row"]


def boot(made: BootResult) -> BootDocument:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "boot.json"
        path.write_text(json.dumps(to_json(made)))
        return read_boot(str(path))


def given(**fields: object) -> BootDocument:
    """Return a boot whose hand-off has these fields, named as in `Handoff`."""
    return boot(result(handoff=handoff(**fields)))


def handoff_of(made: BootDocument) -> HandoffDocument:
    assert made.handoff is not None
    return made.handoff


def compare(a: dict[str, object], b: dict[str, object]) -> HandoffDiff:
    return diff_boots(given(**a), given(**b))


def names(diff: HandoffDiff) -> list[str]:
    return [f"{one.section}: {one.name}" for one in diff.differences]


def row(diff: HandoffDiff, name: str) -> Row:
    (found,) = [one for one in diff.rows if one.name == name]
    return found
