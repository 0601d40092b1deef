# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's own copy of what it was given: by every way, and held against what was recorded.

/sys/kernel/boot_params/data is the zero page as the booted kernel keeps it (Linux
Documentation/ABI/testing/sysfs-kernel-boot_params). It shows loaders that nobody can look into, and it proves
what was recorded at the hand-off.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pvefi.evaluate.analysis.facts import KernelFacts, facts_of
from pvefi.evaluate.analysis.results import Way, document_of, of, short_names, shown, ways
from pvefi.evaluate.analysis.setup_header import with_header_as_one
from pvefi.evaluate.document import Cell, Mark, Section, Table, cell
from pvefi.evaluate.run import Evaluation, ImageFacts
from pvefi.evaluate.task import TaskKind
from pvefi.report.boot_document import HandoffDocument
from pvefi.report.boot_params import Field, boot_params_fields, value_text
from pvefi.report.boot_params_purpose import HALVES, PLACES, purpose_of
from pvefi.report.memory_maps import e820_name
from pvefi.spec.linux.boot_params import BootParams
from pvefi.trace.spelling import spell

__all__ = ["kernel_copy_section"]

_WIDTH = 60  # characters of a value
_GIVEN = frozenset({"hdr.ramdisk_image", "hdr.ramdisk_size", "ext_ramdisk_image", "ext_ramdisk_size"})
"""Fields of the initrd: the recorded boot and the kernel's own have different ones."""
_OF_MAP = frozenset({"e820_entries", "efi_info.efi_memmap_size"})
"""Fields that count ranges: their number follows from what was allocated where."""
_ELSEWHERE = frozenset(PLACES) | frozenset(HALVES[name] for name in PLACES if name in HALVES)


def kernel_copy_section(evaluation: Evaluation) -> Section:
    """Return the zero pages that kernels say they got, by way, and whether records say the same."""
    parts = []
    for image in evaluation.images:
        told = {
            way: facts
            for way in ways(evaluation, image)
            if (facts := facts_of(of(evaluation, image, way))) is not None and facts.boot_params is not None
        }
        parts += [
            table
            for table in (_beside(evaluation, image, told), _proof(evaluation, image, told))
            if table is not None
        ]
    text = [
        "What the running kernel says it was given (/sys/kernel/boot_params), also by loaders into which "
        "pvefi cannot look.",
    ]
    if not parts:
        text.append("Not measured: no kernel came to its first process in a boot that asks for it.")
    return Section("kernel-copy", "The kernel's own copy", tuple(text), tuple(parts), short="Kernel's copy")


def _beside(evaluation: Evaluation, image: ImageFacts, told: Mapping[Way, KernelFacts]) -> Table | None:
    """Return the fields of all zero pages in which they differ; None where there are not two."""
    if len(told) < 2:
        return None
    pages = {way: facts.boot_params for way, facts in told.items() if facts.boot_params is not None}
    columns = {way: {field.name: field for field in boot_params_fields(page)} for way, page in pages.items()}
    base, *others = columns
    rows = []
    equal = 0
    for name in columns[base]:
        fields = [columns[way][name] for way in (base, *others)]
        if all(field.value == fields[0].value for field in fields):
            equal += 1
            continue
        rows.append((cell(name), *_cells(fields), cell(purpose_of(name) or None)))
    rows.append((cell("setup_data"), *_nodes(list(told.values())), cell("nodes that extend boot_params")))
    rows += _sums(list(pages.values()))
    about = f"{equal} further fields are equal in all. Moved: a field that says where something was put."
    name = short_names(evaluation)[image.file.sha256]
    headings = ("field", *(_heading(way, told) for way in columns), "what it is")
    return Table(
        f"{name}: boot_params as the kernel has it", headings, tuple(with_header_as_one(rows, 0)), about
    )


def _heading(way: Way, told: Mapping[Way, KernelFacts]) -> str:
    one_machine = len({other.machine for other in told}) == 1
    return way.entry if one_machine else str(way)


def _cells(fields: Sequence[Field]) -> list[Cell]:
    cells = []
    for field in fields:
        mark = Mark.NONE
        if field.value != fields[0].value:
            there = not field.is_zero and not fields[0].is_zero
            mark = Mark.MOVED if there and field.name in _ELSEWHERE else Mark.DIFFERS
        value = field.value if isinstance(field.value, int) else None
        cells.append(Cell(shown(value_text(field.value), _WIDTH), value, mark, shown(field.meaning)))
    return cells


def _nodes(told: Sequence[KernelFacts]) -> list[Cell]:
    texts = [" ".join(spell(node) for node in facts.setup_data[:8]) or "none" for facts in told]
    return [
        Cell(shown(text, _WIDTH), None, Mark.NONE if text == texts[0] else Mark.DIFFERS) for text in texts
    ]


def _sums(pages: Sequence[BootParams]) -> list[tuple[Cell, ...]]:
    """Return a row for each type of e820: how much memory there is of it."""
    sums = [_by_type(page) for page in pages]
    rows = []
    for name in dict.fromkeys(name for one in sums for name in one):
        values = [one.get(name, 0) for one in sums]
        cells = [
            Cell(f"{value:,}", value, Mark.NONE if value == values[0] else Mark.DIFFERS) for value in values
        ]
        rows.append((cell(f"e820: {name}"), *cells, cell("bytes of this type")))
    return rows


def _by_type(page: BootParams) -> dict[str, int]:
    sums: dict[str, int] = {}
    for entry in page.memory_map:
        name = e820_name(entry.type)
        sums[name] = sums.get(name, 0) + entry.size
    return sums


def _proof(evaluation: Evaluation, image: ImageFacts, told: Mapping[Way, KernelFacts]) -> Table | None:
    """Return for each way whether the recorded hand-off is what the kernel says it got, on that machine."""
    rows = []
    for way in ways(evaluation, image):
        results = of(evaluation, image, way, [TaskKind.HANDOFF])
        document = document_of(results)
        if document is None or document.handoff is None or way not in told:
            continue
        page = told[way].boot_params
        assert page is not None, "only facts with a zero page are told"
        rows.append((cell(way.entry), cell(way.machine), *_compared(document.handoff, page)))
    if not rows:
        return None
    about = (
        "Two boots: one that was stopped at the hand-off, and one to user space. Where a boot puts things, "
        "and the initrd, are its own; all else that differs was changed by the kernel after its first "
        "instruction, or was recorded wrongly."
    )
    name = short_names(evaluation)[image.file.sha256]
    return Table(
        f"{name}: the recorded hand-off against the kernel's own copy",
        ("entry", "machine", "fields equal", "put elsewhere", "other initrd", "differ"),
        tuple(rows),
        about,
        frozenset({2}),
    )


def _compared(handoff: HandoffDocument, page: BootParams) -> list[Cell]:
    ours = {field.name: field for field in boot_params_fields(handoff.boot_params)}
    theirs = {field.name: field for field in boot_params_fields(page)}
    differing = [name for name, field in ours.items() if field.value != theirs[name].value]
    initrd = [name for name in differing if name in _GIVEN]
    moved = [name for name in differing if name not in _GIVEN and _moved(ours[name], theirs[name])]
    other = [name for name in differing if name not in initrd and name not in moved]
    told = [f"{name} {value_text(ours[name].value)} -> {value_text(theirs[name].value)}" for name in other]
    return [
        cell(len(ours) - len(differing)),
        _list(moved),
        _list(initrd),
        Cell(shown("; ".join(told)), len(other), Mark.DIFFERS) if other else Cell("none", 0, Mark.GOOD),
    ]


def _moved(ours: Field, theirs: Field) -> bool:
    return ours.name in _OF_MAP or (ours.name in _ELSEWHERE and not ours.is_zero and not theirs.is_zero)


def _list(names: Sequence[str]) -> Cell:
    return Cell(shown(", ".join(names)) or "none", len(names))
