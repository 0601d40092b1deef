# SPDX-License-Identifier: GPL-2.0-or-later
"""All sections together: of real boots, of boots that failed in any way, and of damaged results."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvefi.boot import Observer, boot
from pvefi.evaluate.analysis import sections
from pvefi.evaluate.document import Cell, Mark, Picture, Section, Table
from pvefi.evaluate.run import Evaluation
from pvefi.evaluate.task import Problem, Task, TaskKind, TaskResult
from pvefi.machines.choose import choose_machine
from pvefi.prepare import BootOptions, prepare
from pvefi.report.boot import to_json
from pvefi.trace.jsonl import event_to_json
from pvefi.verdict import Goal
from tests.conftest import RealFiles
from tests.evaluate.analysis import made
from tests.evaluate.analysis.made import (
    BOOT_PARAMS,
    call,
    column,
    evaluation,
    failed,
    handed,
    row,
    table,
    task,
    told,
)
from tests.evaluate.made import facts, file_of, task_result
from tests.report.made import boot_params

ENTRIES = ("efi", "pvh")


def by_name(made: Evaluation) -> dict[str, Section]:
    return {section.name: section for section in sections(made)}


def whole_tables(made: Evaluation) -> Iterator[Table]:
    for section in sections(made):
        for part in section.parts:
            yield part.table if isinstance(part, Picture) else part


def cells_of(made: Evaluation) -> Iterator[Cell]:
    for one in whole_tables(made):
        for cells in one.rows:
            yield from cells


def well_formed(made: Evaluation) -> None:
    """Fail unless every section can be written as a document."""
    every = list(whole_tables(made))
    for one in every:
        assert all(len(cells) == len(one.headings) for cells in one.rows), one.title
        assert all(len(text) <= 700 and text.isprintable() for text in one.headings), one.title
    for cell in (cell for one in every for cells in one.rows for cell in cells):
        assert len(cell.text) <= 700
        assert (cell.text + cell.note).isprintable()
        json.dumps(cell.value, allow_nan=False)


# ---------------------------------------------------------------- real boots


@pytest.fixture(scope="module")
def real(corpus: RealFiles) -> Evaluation:
    """Give a kernel's boots to its hand-off by two entries on the embedded machine."""
    kernel = corpus.file("cloud", "boot/vmlinuz-*")
    results = [_boot(kernel, entry) for entry in ENTRIES]
    image = facts(kernel.name, file=file_of(kernel))
    return evaluation(*results, images=(image,))


def _boot(kernel: Path, entry: str) -> TaskResult:
    options = BootOptions(
        image=kernel,
        machine=choose_machine("embedded"),
        entry=entry,
        seed=0,
        count=True,
        goal=Goal.HANDOFF,
        timeout=120.0,
    )
    nothing: Any = lambda _: None  # noqa: E731  # three of it are wanted, of three types
    ended = boot(prepare(options), Observer(console=nothing, call=nothing, stage=nothing))
    calls = tuple(event_to_json(event) for event in ended.calls)
    of = Task(file_of(kernel), entry, "embedded", TaskKind.HANDOFF, seed=0)
    return task_result(of, boot=to_json(ended), calls=calls)


def test_a_real_kernel_s_paths_are_told_apart(real: Evaluation) -> None:
    found = table(by_name(real)["matrix"], "How far")
    assert column(found, "embedded") == ["hand-off", "hand-off"]
    assert column(found, "kernel proper entered at") == ["startup_64", "PHYS32_ENTRY"]
    paths = table(by_name(real)["paths"], "vmlinuz")
    assert row(paths, "EFI runtime services")["efi"].mark is Mark.GOOD
    assert row(paths, "EFI runtime services")["pvh"].mark is Mark.BAD
    assert row(paths, "random seed")["efi"].text == "LINUX_EFI_RANDOM_SEED table"
    assert row(paths, "W^X at the hand-off")["efi"].mark is not Mark.MISSING
    assert row(paths, "KASLR, physical")["pvh"].text == "none: as linked in 1 boot"


def test_a_real_kernel_s_hand_offs_differ_where_its_entries_do(real: Evaluation) -> None:
    found = table(by_name(real)["hand-off"], "on embedded")
    cells = row(found, "efi_info.efi_loader_signature")
    assert (cells["efi"].text, cells["pvh"].text) == ("454c3634", "00000000")


def test_a_real_kernel_costs_more_instructions_by_its_decompressor_s_work(real: Evaluation) -> None:
    found = table(by_name(real)["cost"], "instructions")
    efi, pvh = (row(found, entry)["to the hand-off"].value for entry in ENTRIES)
    assert isinstance(efi, int)
    assert isinstance(pvh, int)
    assert efi > 100 * pvh > 0


def test_a_real_kernel_needs_these_services(real: Evaluation) -> None:
    found = table(by_name(real)["services"], "Services by image")
    assert {"GetMemoryMap", "ExitBootServices", "AllocatePages"} <= set(column(found, "service"))
    assert "LOADED_IMAGE_PROTOCOL" in column(table(by_name(real)["services"], "Protocols by"), "protocol")


def test_all_sections_of_real_boots_are_well_formed(real: Evaluation) -> None:
    well_formed(real)


# ---------------------------------------------------------------- whatever is missing


@pytest.mark.parametrize("problem", [one for one in Problem if one])
def test_an_evaluation_of_nothing_but_problems_has_every_section(problem: Problem) -> None:
    results = [failed(task(entry, kind=kind), problem, "why") for entry in ENTRIES for kind in TaskKind]
    made = evaluation(*results)
    well_formed(made)
    assert len(sections(made)) == len(sections(evaluation(handed())))


def test_an_evaluation_without_any_boot_has_every_section() -> None:
    made = evaluation(images=(), machines=())
    well_formed(made)
    assert [section.name for section in sections(made)] == [
        section.name for section in sections(evaluation(handed()))
    ]


def test_nothing_that_was_not_measured_is_a_number() -> None:
    made = evaluation(
        failed(task("efi")), failed(task("efi", "qemu", TaskKind.COUNT)), handed("pvh"), told("linux64")
    )
    for cell in cells_of(made):
        if cell.text == "not measured":
            assert (cell.value, cell.mark) == (None, Mark.MISSING)
            assert cell.note


WHOLE = (
    made.boot(task("efi"), calls=(call(1, "GetMemoryMap"),)),
    handed("pvh", kernel_start="PHYS32_ENTRY"),
    told("efi", files={BOOT_PARAMS: boot_params().pack()}, log="<6>[    0.0] efi: EFI v2.100 by pvefi\n"),
    told(
        "pvh",
        files={BOOT_PARAMS: boot_params().pack(), "/proc/meminfo": b"MemTotal: 5 kB\n"},
        log="<4>[ 1.0] a",
    ),
)
JUNK: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to every value within a document."""
    yield path
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value[:3]):
            yield from places(inner, (*path, key))


PLACES = [way for way in places(WHOLE[0].boot) if way]


def changed(value: Any, path: tuple[Any, ...], junk: Any) -> Any:
    if not path:
        return junk
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = changed(value[path[0]], path[1:], junk)
    return copy


@settings(max_examples=30)
@given(st.sampled_from(PLACES), JUNK)
def test_a_document_that_is_damaged_anywhere_crashes_nothing(way: tuple[Any, ...], junk: Any) -> None:
    first = replace(WHOLE[0], boot=changed(WHOLE[0].boot, way, junk))
    well_formed(evaluation(first, *WHOLE[1:]))


@settings(max_examples=30)
@given(
    st.dictionaries(st.sampled_from([*WHOLE[2].files, "/proc/iomem", "/proc/kcore"]), st.binary(max_size=300))
)
def test_files_of_any_contents_crash_nothing(files: dict[str, bytes]) -> None:
    well_formed(evaluation(*WHOLE[:2], replace(WHOLE[2], files=files), WHOLE[3]))


@settings(max_examples=30)
@given(
    st.lists(
        st.dictionaries(st.sampled_from(["index", "service", "arguments", "status", "host_us", "why"]), JUNK)
    )
)
def test_calls_of_any_form_crash_nothing(calls: list[dict[str, Any]]) -> None:
    well_formed(evaluation(replace(WHOLE[0], calls=tuple(calls)), *WHOLE[1:]))
