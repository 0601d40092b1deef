# SPDX-License-Identifier: GPL-2.0-or-later
"""The matrix: every image by every entry on every machine, how far it came, and why not further."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from pvefi.entries import ENTRIES
from pvefi.evaluate.analysis.results import (
    Stage,
    Way,
    document_of,
    entries_of,
    of,
    outcome,
    short_names,
    shown,
    stage,
    status_name,
    verdict,
)
from pvefi.evaluate.document import Cell, Mark, Section, Table, cell
from pvefi.evaluate.outcome import Ending, ending, says_xen
from pvefi.evaluate.run import Evaluation, ImageFacts
from pvefi.evaluate.task import Problem, TaskKind, TaskResult
from pvefi.verdict import Outcome

__all__ = ["matrix_section"]

_KINDS = {
    TaskKind.HANDOFF: "the hand-off",
    TaskKind.USERSPACE: "the time to user space",
    TaskKind.FACTS: "the kernel's own words",
    TaskKind.COUNT: "exact counts",
}
_WORDS = {Stage.HANDOFF: "hand-off", Stage.USER_SPACE: "user space"}
_ENTRIES = {
    "efi": "the PE entry: EFI stub, with boot services",
    "efi-handover": "the EFI handover entry: EFI stub, with a boot_params that the loader made",
    "linux64": "startup_64 of the decompressor, by the 64-bit boot protocol; no EFI",
    "linux32": "startup_32 of the decompressor, by the 32-bit boot protocol; no EFI",
    "kexec": "startup_64 of the decompressor, as a first kernel's kexec enters it; EFI runtime services only",
    "pvh": "PHYS32_ENTRY of the vmlinux inside: no decompressor, no EFI",
    "qemu-linux": "QEMU's own bzImage loader: the 16-bit entry, after a BIOS",
    "qemu-pvh": "QEMU's own loader of the PVH entry",
    "ovmf": "the PE entry under OVMF: a whole firmware in the guest",
    "xen-pvh": "xl's own loader of the PVH entry",
    "xen-pv": "the Xen PV entry",
}


def matrix_section(evaluation: Evaluation) -> Section:
    """Return how far every image came by every way, and by which path."""
    kinds = Counter(result.task.kind for result in evaluation.results)
    told = ", ".join(f"{count:,} for {_KINDS[kind]}" for kind, count in kinds.items())
    text = f"Boots that make up this report: {told or 'none'}."
    return Section(
        "matrix",
        "What boots by which entry",
        (text,),
        (_matrix(evaluation), _entries(evaluation)),
        short="What boots",
    )


def _entries(evaluation: Evaluation) -> Table:
    rows = tuple(
        (cell(shown(entry, 40)), cell(_ENTRIES.get(entry, "an entry that this report does not know")))
        for entry in entries_of(evaluation)
    )
    return Table("Entries", ("entry", "what it is"), rows)


def _matrix(evaluation: Evaluation) -> Table:
    names = short_names(evaluation)
    machines = list(dict.fromkeys([*evaluation.machines, *(one.task.machine for one in evaluation.results)]))
    rows = []
    for image in evaluation.images:
        for entry in entries_of(evaluation):
            ways = [Way(entry, machine) for machine in machines]
            cells = [_reached(image, of(evaluation, image, way), way) for way in ways]
            if any(one.value is not None for one in cells):
                results = [result for way in ways for result in of(evaluation, image, way)]
                rows.append((cell(names[image.file.sha256]), cell(entry), *cells, *_path(results)))
    return Table(
        "How far each image came",
        ("image", "entry", *machines, "decompressor", "kernel proper entered at", "physical slide"),
        tuple(rows),
        "hand-off: the kernel proper had control, proven by its own bytes at the instruction pointer. "
        "user space: its first process ran. Path facts are those of the recorded hand-off.",
        frozenset({len(machines) + 4}),
    )


def _reached(image: ImageFacts, results: Sequence[TaskResult], way: Way) -> Cell:
    """Return how far an image came by one way, over all boots of it."""
    if not results:
        lacks = way.entry not in image.ways
        why = f"it cannot be booted by {way.entry}" if lacks else f"{way} was not asked for, or cannot be"
        if way.entry not in ENTRIES:
            why = "a loader of another machine"
        return Cell("-", None, Mark.MISSING, shown(why))
    best = max(results, key=stage)
    failed = [result for result in results if ending(result) is not Ending.REACHED]
    text = _words(best)
    note = verdict(failed[0] if failed else best) if failed or not image.is_kernel else ""
    if failed and len(failed) < len(results):
        text += f"; {_ended(failed[0])} in {len(failed)} of {len(results)}"
    if says_xen(best) and stage(best) is Stage.ENDED and outcome(best) is Outcome.EXITED:
        text += ": Xen ends so when it cannot go on"
    return Cell(shown(text, 120), stage(best).name.lower(), Mark.BAD if failed else Mark.GOOD, note)


def _words(result: TaskResult) -> str:
    return _WORDS.get(stage(result)) or _ended(result)


def _ended(result: TaskResult) -> str:
    if result.problem is not Problem.NONE:
        return f"no boot: {result.problem.value}"
    ended, status = outcome(result), status_name(result)
    word = ended.value if ended else "no verdict"
    return f"{word} with {status}" if status else word


def _path(results: Sequence[TaskResult]) -> Iterator[Cell]:
    document = document_of(results)
    if document is None or document.handoff is None:
        yield from [Cell("-", None, Mark.MISSING, "no hand-off was recorded")] * 3
        return
    path, proof = document.handoff.path, document.handoff.proof
    yield cell(shown(str(path.get("decompressor", "-")), 40))
    yield cell(shown(str(path.get("kernel_start", "-")), 40))
    yield Cell(f"{proof.slide:#x}", proof.slide)
