# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds evaluations and sections of reports, as small as a test needs them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from pvefi.evaluate.document import Cell, Mark, Picture, PictureKind, Section, Table, cell
from pvefi.evaluate.run import Evaluation, Gap, Host, ImageFacts
from pvefi.evaluate.task import BootHost, FileRef, Problem, Task, TaskKind, TaskResult
from pvefi.trace.values import Json

HOSTILE = (
    "</script></style><script>alert(1)</script><img src=x onerror=alert(1)> \x1b[31mred\x1b[0m \u202edlrow "
    "| `code` ![i](https://example.invalid/x.png) <!-- $x$ &lt; *a* _b_ ~~c~~ {{ 7*7 }} {% raw %} \ud800 \0"
)
"""What a guest might write in the hope that somebody's browser or terminal takes it for more than text."""

MIB = 1 << 20
HERE = BootHost("tower", "AMD EPYC", 2)


def image(name: str = "vmlinuz-6.1.0", release: str = "6.1.0-56-amd64", digit: str = "a") -> ImageFacts:
    entries = ("efi", "linux64")
    return ImageFacts(FileRef(name, digit * 64, 8_123_456), "bzImage", release, entries, True, entries)


def result(
    of: ImageFacts,
    entry: str = "efi",
    *,
    machine: str = "qemu",
    kind: TaskKind = TaskKind.HANDOFF,
    outcome: str = "hand-off",
    message: str = "the kernel proper has control",
    problem: Problem = Problem.NONE,
    why: str = "",
    host: BootHost | None = HERE,
) -> TaskResult:
    verdict: Json = {"outcome": outcome, "message": message, "status": None}
    boot: dict[str, Json] = (
        {} if problem else {"verdict": verdict, "seconds": 1.25, "handoff": {"big": "x" * 99}}
    )
    return TaskResult(
        task=Task(of.file, entry, machine, kind),
        problem=problem,
        why=why,
        boot={} if problem else boot,
        calls=(),
        console="",
        files={},
        counter=None,
        peak_memory=50 * MIB,
        worker="host/1",
        host=host,
    )


def evaluation(
    images: Sequence[ImageFacts] = (),
    results: Sequence[TaskResult] = (),
    gaps: Sequence[Gap] = (),
    command: str = "pvefi evaluate vmlinuz -o out",
    about: str = "QEMU 7.2.22, q35, TCG",
) -> Evaluation:
    host = Host("AMD EPYC", 2, "Debian GNU/Linux 12", "3.11.7", "0.1.0", (("qemu", about),), HERE.name)
    return Evaluation(
        command=command,
        started="2026-11-28 04:00:00 UTC",
        seconds=75.5,
        repeat=3,
        jobs=2,
        host=host,
        images=tuple(images) or (image(),),
        machines=("qemu",),
        results=tuple(results),
        gaps=tuple(gaps),
    )


def table(
    rows: Sequence[Sequence[Cell]] = (), *, title: str = "A table", folded: bool = False, about: str = ""
) -> Table:
    made = tuple(tuple(row) for row in rows) or ((cell("row"), cell(12)),)
    headings = ("name", *(f"column {at}" for at in range(1, len(made[0]))))
    return Table(title, headings, made, about, frozenset({1}), folded)


def memory_map(panels: Sequence[str] = ("before", "after")) -> Picture:
    """Return maps in which a single page stands beside hundreds of MiB."""
    ends = (0, 0x1000, 0x9F000, MIB, 16 * MIB, 60 * MIB, 480 * MIB, 480 * MIB + 0x1000, 512 * MIB)
    types = ("reserved", "conventional", "reserved", "data", "code", "conventional", "ACPI", "conventional")
    records: list[dict[str, Json]] = [
        {"panel": panel, "start": start, "end": end, "type": "free" if number and kind == "data" else kind}
        for number, panel in enumerate(panels)
        for (start, end), kind in zip(pairwise(ends), types, strict=True)
    ]
    return _picture("Memory map", PictureKind.MEMORY_MAPS, records)


def timeline(ways: Sequence[str] = ("efi, qemu", "linux64, qemu")) -> Picture:
    records: list[dict[str, Json]] = []
    for way in ways:
        at = 0.0
        for phase, length in (("first doorbell", 40.0), ("hand-off", 250.0), ("user space", 1400.0)):
            records.append({"way": way, "phase": phase, "start": at, "end": at + length})
            at += length
    return _picture("Boot timeline", PictureKind.TIMELINE, records)


def heat_map(
    rows: Sequence[str] = ("AllocatePages", "GetMemoryMap"),
    columns: Sequence[str] = ("vmlinuz-6.1 by efi", "xen.efi"),
) -> Picture:
    records: list[dict[str, Json]] = [
        {"row": row, "column": column, "value": y * 7 + x * 100}
        for y, row in enumerate(rows)
        for x, column in enumerate(columns)
    ]
    return _picture("Services", PictureKind.HEAT_MAP, records)


def sections() -> tuple[Section, ...]:
    """Return sections with a table of every sort, every mark, and a picture of every kind."""
    marked = table([[cell(f"row {mark or 'plain'}"), cell(mark.value or "nothing", mark)] for mark in Mark])
    long = table([[cell(f"field {at}"), cell(at)] for at in range(64)], title="Long", about="Many rows.")
    return (
        Section("matrix", "Matrix", ("What reached what.",), (marked, table(title="Folded", folded=True))),
        Section("handoff", "Hand-off", ("Side by side.",), (long, memory_map())),
        Section("cost", "Cost", (), (timeline(), heat_map())),
    )


def _picture(title: str, kind: PictureKind, records: Sequence[dict[str, Json]]) -> Picture:
    names = tuple(records[0])
    rows = tuple(tuple(cell(record[name]) for name in names) for record in records)
    return Picture(title, kind, tuple(records), Table(f"{title} as a table", names, rows), "What it shows.")
