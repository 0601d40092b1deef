# SPDX-License-Identifier: GPL-2.0-or-later
"""What each entry costs of the guest's memory: what the kernel has left, and what of EFI stands in it."""

from __future__ import annotations

from collections.abc import Sequence

from pvefi.evaluate.analysis.facts import facts_of
from pvefi.evaluate.analysis.results import document_of, not_measured, of, short_names, ways, why_not
from pvefi.evaluate.document import Cell, Mark, Table, cell
from pvefi.evaluate.run import Evaluation, ImageFacts
from pvefi.evaluate.task import TaskKind
from pvefi.report.boot_document import HandoffDocument
from pvefi.report.text import size_text
from pvefi.spec.uefi.memory import PAGE_SIZE, MemoryType

__all__ = ["memory_table"]

_STAYS = (MemoryType.RUNTIME_SERVICES_CODE, MemoryType.RUNTIME_SERVICES_DATA)
_GOES = (MemoryType.BOOT_SERVICES_CODE, MemoryType.BOOT_SERVICES_DATA)
_KIB = 1024


def memory_table(evaluation: Evaluation, image: ImageFacts) -> Table:
    """Return a row for each way by which the kernel tells its memory, or a hand-off shows EFI's."""
    rows = []
    for way in ways(evaluation, image):
        results = of(evaluation, image, way)
        facts = facts_of(results)
        document = document_of(results)
        handoff = document.handoff if document is not None else None
        if (facts is None or not facts.memory) and handoff is None:
            continue
        asked = [result for result in results if result.task.kind in (TaskKind.FACTS, TaskKind.COUNT)]
        memory = facts.memory if facts is not None else {}
        size = results[0].task.memory_size
        total = memory.get("MemTotal")
        rows.append(
            (
                cell(way.entry),
                cell(way.machine),
                *(
                    _amount(value, why_not(asked))
                    for value in (
                        total,
                        None if total is None else size - total,
                        memory.get("MemFree"),
                        memory.get("MemAvailable"),
                    )
                ),
                _sum(handoff, _GOES),
                _sum(handoff, _STAYS),
            )
        )
    most = max((row[2].value for row in rows if isinstance(row[2].value, int)), default=None)
    rows = [tuple(_marked(one, most) if at == 2 else one for at, one in enumerate(row)) for row in rows]
    headings = ("entry", "machine", "MemTotal", "taken", "MemFree", "MemAvailable", "EFI, goes", "EFI, stays")
    return Table(
        f"{short_names(evaluation)[image.file.sha256]}: memory in KiB",
        headings,
        tuple(rows),
        "MemTotal, MemFree and MemAvailable as /proc/meminfo has them when the first process runs; taken is "
        "what the guest was given less MemTotal: kernel, reserved ranges and firmware. EFI is the memory of "
        "boot services, which goes with ExitBootServices, and of runtime services, by the EFI memory map.",
        frozenset(range(2, 8)),
    )


def _amount(value: int | None, why: str) -> Cell:
    return not_measured(why) if value is None else Cell(f"{value // _KIB:,}", value, note=size_text(value))


def _sum(handoff: HandoffDocument | None, kinds: Sequence[MemoryType]) -> Cell:
    if handoff is None:
        return not_measured("the hand-off was not recorded")
    size = sum(one.number_of_pages * PAGE_SIZE for one in handoff.memory_map if one.type in kinds)
    return Cell(f"{size // _KIB:,}", size, note="" if handoff.memory_map else "the entry has no EFI")


def _marked(one: Cell, most: int | None) -> Cell:
    return Cell(one.text, one.value, Mark.BEST, one.note) if one.value == most and most is not None else one
