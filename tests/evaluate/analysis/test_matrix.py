# SPDX-License-Identifier: GPL-2.0-or-later
"""The matrix says how far each image came, and in words why not further."""

from __future__ import annotations

from dataclasses import replace

from pvefi.evaluate.analysis.matrix import matrix_section
from pvefi.evaluate.document import Mark
from pvefi.evaluate.task import TaskKind
from pvefi.spec.uefi.status import EfiStatus
from pvefi.verdict import Outcome
from tests.evaluate.analysis.made import (
    PROGRAM,
    boot,
    column,
    evaluation,
    failed,
    handed,
    row,
    table,
    tables,
    task,
    told,
)
from tests.report.made import result

TITLE = "How far each image came"


def test_a_kernel_s_entries_are_rows_and_machines_are_columns() -> None:
    made = evaluation(handed("efi"), handed("pvh", kernel_start="PHYS32_ENTRY"), told("efi"))
    matrix = table(matrix_section(made), TITLE)
    assert matrix.headings[:4] == ("image", "entry", "embedded", "qemu")
    efi = row(matrix, "efi", at=1)
    assert (efi["embedded"].text, efi["qemu"].text) == ("hand-off", "user space")
    assert efi["embedded"].mark is Mark.GOOD
    assert (efi["decompressor"].text, efi["physical slide"].text) == ("bypassed", "0x3c00000")
    pvh = row(matrix, "pvh", at=1)
    assert (pvh["qemu"].mark, pvh["kernel proper entered at"].text) == (Mark.MISSING, "PHYS32_ENTRY")


def test_some_of_several_boots_that_fail_are_told_beside_the_best() -> None:
    panicked = result(Outcome.PANICKED, "Kernel panic - not syncing: VFS", milestones={})
    kind = TaskKind.USERSPACE
    reached = result(Outcome.USER_SPACE, "its first process runs")
    made = evaluation(
        *(boot(task("efi", "qemu", kind, repetition=at), reached) for at in range(2)),
        boot(task("efi", "qemu", kind, repetition=2), panicked),
    )
    section = matrix_section(made)
    found = row(table(section, TITLE), "efi", at=1)["qemu"]
    assert found.text == "user space; panicked in 1 of 3"
    assert found.mark is Mark.BAD
    assert found.note == "panicked: Kernel panic - not syncing: VFS"


def test_a_program_is_good_when_it_ends_with_success() -> None:
    outcomes = {}
    for status in (EfiStatus.SUCCESS, EfiStatus.NOT_FOUND):
        made = result(Outcome.EXITED, "it returned", status, milestones={})
        section = matrix_section(evaluation(boot(task(image=PROGRAM), made)))
        outcomes[status] = row(table(section, TITLE), "efi", at=1)["embedded"]
    assert [one.mark for one in outcomes.values()] == [Mark.GOOD, Mark.BAD]
    assert outcomes[EfiStatus.NOT_FOUND].text == "exited with EFI_NOT_FOUND"


def test_xen_that_ends_by_itself_has_not_started_anything() -> None:
    made = result(Outcome.EXITED, "it returned", EfiStatus.SUCCESS, milestones={})
    section = matrix_section(
        evaluation(boot(task(image=PROGRAM), made, console="Xen 4.17.7 (c/s ) EFI loader"))
    )
    cell = row(table(section, TITLE), "efi", at=1)["embedded"]
    assert (cell.mark, cell.note) == (Mark.BAD, "exited: it returned")
    assert "cannot go on" in cell.text


def test_a_boot_that_never_was_says_why() -> None:
    section = matrix_section(evaluation(failed(task("efi", "qemu"))))
    cell = row(table(section, TITLE), "efi", at=1)["qemu"]
    assert (cell.text, cell.mark, cell.note) == ("no boot: machine", Mark.BAD, "machine: no QEMU here")


def test_what_a_guest_says_is_made_printable_and_short() -> None:
    wild = result(Outcome.PANICKED, "\x1b[2J<script>" + "x" * 10_000, milestones={})
    made = evaluation(boot(task("efi", "qemu", TaskKind.USERSPACE), wild))
    texts = [
        text
        for one in tables(matrix_section(made))
        for cells in one.rows
        for cell in cells
        for text in (cell.text, cell.note)
    ]
    assert all(text.isprintable() and len(text) <= 300 for text in texts)
    assert any("\\x1b[2J<script>" in text for text in texts)


def test_images_of_one_name_are_told_apart() -> None:
    first, second = handed("efi"), handed("efi")
    other = replace(second.task.image, sha256="ab" * 32)
    image = replace(evaluation(first).images[0], file=other)
    second = replace(second, task=replace(second.task, image=other))
    made = evaluation(first, images=(*evaluation(first).images, image), results=(first, second))
    names = column(table(matrix_section(made), TITLE), "image")
    assert len(set(names)) == 2
    assert names[1] == "vmlinuz abababab"
