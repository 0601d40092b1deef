# SPDX-License-Identifier: GPL-2.0-or-later
"""What each entry costs of the guest's memory: what the kernel has left, and what of EFI stands in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pvefi.evaluate.analysis.facts import facts_of
from pvefi.evaluate.analysis.results import Way, document_of, not_measured, of, short_names, why_not
from pvefi.evaluate.document import Cell, Mark, Table, cell
from pvefi.evaluate.run import Evaluation, ImageFacts
from pvefi.evaluate.task import TaskKind
from pvefi.report.boot_document import HandoffDocument
from pvefi.report.text import size_text
from pvefi.spec.uefi.memory import PAGE_SIZE, MemoryType

__all__ = ["memory_table"]

_TOTAL = "MemTotal"
_TOLD = (_TOTAL, "taken", "MemFree", "MemAvailable")
_OF_EFI = {
    "EFI, goes": (MemoryType.BOOT_SERVICES_CODE, MemoryType.BOOT_SERVICES_DATA),
    "EFI, stays": (MemoryType.RUNTIME_SERVICES_CODE, MemoryType.RUNTIME_SERVICES_DATA),
}
_ASKED = (TaskKind.FACTS, TaskKind.COUNT)
_KIB = 1024


def memory_table(evaluation: Evaluation, image: ImageFacts, here: Sequence[Way]) -> Table:
    """Return a row for each way on one machine by which the kernel tells its memory, or a hand-off EFI's."""
    columns: dict[str, list[Cell]] = {title: [] for title in (*_TOLD, *_OF_EFI)}
    for way in here:
        results = of(evaluation, image, way)
        facts, document = facts_of(results), document_of(results)
        handoff = document.handoff if document is not None else None
        memory = facts.memory if facts is not None else {}
        total = memory.get("MemTotal")
        taken = None if total is None else results[0].task.memory_size - total
        asked = why_not([result for result in results if result.task.kind in _ASKED])
        for title, value in zip(
            _TOLD, (total, taken, memory.get("MemFree"), memory.get("MemAvailable")), strict=True
        ):
            columns[title].append(_amount(value, asked))
        for title, kinds in _OF_EFI.items():
            columns[title].append(_sum(handoff, kinds))
    told = {
        title: _best(cells) if title == _TOTAL else cells
        for title, cells in columns.items()
        if any(isinstance(one.value, int) for one in cells)
    }
    rows = [
        (cell(way.entry), *(cells[at] for cells in told.values()))
        for at, way in enumerate(here)
        if any(cells[at].value is not None for cells in told.values())
    ]
    about = (
        "EFI, goes: memory of boot services, free after ExitBootServices; EFI, stays: of runtime services; "
        "both by the EFI memory map."
    )
    if _TOTAL in told:
        about = (
            "MemTotal, MemFree, MemAvailable as /proc/meminfo has them when the first process runs; taken: "
            f"what the guest was given less MemTotal, for kernel, reserved ranges and firmware. {about}"
        )
    name = short_names(evaluation)[image.file.sha256]
    numeric = frozenset(range(1, len(told) + 1))
    return Table(f"{name} on {here[0].machine}: memory in KiB", ("entry", *told), tuple(rows), about, numeric)


def _amount(value: int | None, why: str) -> Cell:
    return not_measured(why) if value is None else Cell(f"{value // _KIB:,}", value, note=size_text(value))


def _sum(handoff: HandoffDocument | None, kinds: Sequence[MemoryType]) -> Cell:
    if handoff is None:
        return not_measured("the hand-off was not recorded")
    size = sum(one.number_of_pages * PAGE_SIZE for one in handoff.memory_map if one.type in kinds)
    return Cell(f"{size // _KIB:,}", size, note="" if handoff.memory_map else "the entry has no EFI")


def _best(cells: Sequence[Cell]) -> list[Cell]:
    """Return the cells, the largest of them marked."""
    most = max(one.value for one in cells if isinstance(one.value, int))
    return [replace(one, mark=Mark.BEST) if one.value == most else one for one in cells]
