# SPDX-License-Identifier: GPL-2.0-or-later
"""Costs are medians with their spread, exact counts, and "not measured" with the reason."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pvefi.evaluate.analysis.costs import costs_section
from pvefi.evaluate.document import Mark, PictureKind
from pvefi.evaluate.task import TaskKind, TaskResult
from pvefi.spec.uefi.status import EfiStatus
from pvefi.verdict import Milestone, Outcome
from tests.evaluate.analysis.made import (
    PROGRAM,
    boot,
    column,
    evaluation,
    failed,
    handed,
    pictures,
    row,
    table,
    tables,
    task,
    told,
)
from tests.report.made import result


def timed(entry: str, *seconds: float, machine: str = "qemu") -> list[TaskResult]:
    """Return boots to user space that took so long, one each."""
    return [
        boot(
            task(entry, machine, TaskKind.USERSPACE, repetition=at),
            result(
                Outcome.USER_SPACE,
                "",
                entry=entry,
                milestones={Milestone.IMAGE: taken / 4, Milestone.USER_SPACE: taken},
                instructions=None,
            ),
        )
        for at, taken in enumerate(seconds)
    ]


def counted(entry: str, instructions: int | None, to_image: int | None = 1000) -> TaskResult:
    return boot(task(entry), result(entry=entry, instructions=instructions, instructions_to_image=to_image))


def test_a_time_is_the_median_with_lowest_highest_and_number_of_boots() -> None:
    section = costs_section(evaluation(*timed("efi", 3.0, 1.0, 2.0), *timed("pvh", 0.5, 0.5, 4.0)))
    found = table(section, "on qemu: milliseconds")
    assert column(found, "user space") == ["2,000 (1,000 - 3,000) of 3", "500 (500 - 4,000) of 3"]
    ratios = [one[found.headings.index("ratio")] for one in found.rows]
    assert [one.text for one in ratios] == ["4.00", "1.00"]
    assert [one.mark for one in ratios] == [Mark.NONE, Mark.BEST]
    assert [one.note for one in ratios] == ["its range and the best's overlap", ""]


def test_a_ratio_that_no_chance_accounts_for_has_no_such_note() -> None:
    section = costs_section(evaluation(*timed("efi", 3.0, 4.0), *timed("pvh", 0.5, 0.6)))
    assert row(table(section, "on qemu: milliseconds"), "efi")["ratio"].note == ""


def test_a_program_s_time_is_that_to_its_end() -> None:
    made = result(Outcome.EXITED, "it returned", EfiStatus.SUCCESS, seconds=0.25, instructions=None)
    found = table(costs_section(evaluation(boot(task(image=PROGRAM), made))), "milliseconds")
    assert row(found, "efi")["its end"].text == "250 once"
    assert "user space" not in found.headings


def test_instructions_are_exact_with_ratios_on_the_same_machine() -> None:
    counts = [told(entry, kind=TaskKind.COUNT, counter=n) for entry, n in (("efi", 3000), ("ovmf", 9000))]
    section = costs_section(evaluation(counted("efi", 99_157_922), counted("pvh", 10_000), *counts))
    exact, by_clock = table(section, "embedded: instructions"), table(section, "qemu: instructions")
    assert exact.headings == ("entry", "to the image's first", "ratio", "to the hand-off", "ratio")
    assert [one[3].value for one in exact.rows] == [99_157_922, 10_000]
    assert (exact.rows[0][4].text, exact.rows[1][4].mark) == ("9,916", Mark.BEST)
    assert column(by_clock, "counted ns to user space") == ["3,000", "9,000"]


def test_a_time_stamp_that_counts_no_instructions_is_not_taken_for_them() -> None:
    section = costs_section(evaluation(counted("efi", 5), told("efi", counter=24_231_151_152)))
    assert not any("qemu: instructions" in one.title for one in tables(section))


@pytest.mark.parametrize("instructions", [None, -1, True, 1 << 70])
def test_what_was_not_counted_is_not_0(instructions: int | None) -> None:
    broken = counted("pvh", 7)
    broken = replace(broken, boot={**broken.boot, "instructions": instructions})
    found = table(costs_section(evaluation(counted("efi", 5), broken)), "instructions")
    cell = row(found, "pvh")["to the hand-off"]
    assert (cell.text, cell.mark) == ("not measured", Mark.MISSING)
    assert cell.note


def test_a_machine_that_failed_is_the_reason() -> None:
    made = evaluation(
        *timed("efi", 1.0), failed(task("pvh", "qemu", TaskKind.USERSPACE)), handed("pvh", "qemu")
    )
    cell = row(table(costs_section(made), "on qemu: milliseconds"), "pvh")["user space"]
    assert (cell.text, cell.note) == ("not measured", "machine: no QEMU here")


def test_boots_that_count_are_left_out_where_others_were_timed() -> None:
    slow = boot(task("efi"), result(milestones={Milestone.HANDOFF: 9.0}, instructions=5))
    quick = boot(task("efi", repetition=1), result(milestones={Milestone.HANDOFF: 3.0}, instructions=None))
    found = table(costs_section(evaluation(slow, quick)), "on embedded: milliseconds")
    assert row(found, "efi")["hand-off"].text == "3,000 once"


def test_boots_at_once_are_said_to_disturb_times() -> None:
    alone, together = (
        costs_section(evaluation(*timed("efi", 1.0, 1.0), jobs=jobs)).text[0] for jobs in (1, 4)
    )
    assert "disturbed" not in alone
    assert "4 boots ran at once" in together


def test_a_timeline_has_the_phases_of_every_way_one_after_the_other() -> None:
    section = costs_section(evaluation(*timed("efi", 2.0, 4.0, 6.0), *timed("ovmf", 8.0)))
    (picture,) = pictures(section)
    assert picture.kind is PictureKind.TIMELINE
    assert [(one["way"], one["phase"], one["start"], one["end"]) for one in picture.records] == [
        ("efi", "image", 0.0, 1000.0),
        ("efi", "user space", 1000.0, 4000.0),
        ("ovmf", "image", 0.0, 2000.0),
        ("ovmf", "user space", 2000.0, 8000.0),
    ]
    assert len(picture.table.rows) == len(picture.records)


def test_memory_is_what_the_kernel_says_and_what_was_given() -> None:
    files = {"/proc/meminfo": b"MemTotal:  480344 kB\nMemFree: 452948 kB\nMemAvailable: 452580 kB\n"}
    silent = handed("pvh", "qemu")
    section = costs_section(
        evaluation(told("efi", files=files), handed("efi", "qemu"), silent, handed("efi"))
    )
    found = table(section, "qemu: memory")
    cells = row(found, "efi")
    assert cells["MemTotal"].value == 480_344 << 10
    assert cells["taken"].value == (512 << 20) - (480_344 << 10)
    assert cells["EFI, stays"].value == 0x10000
    pvh = row(found, "pvh")
    assert (pvh["MemTotal"].text, pvh["MemTotal"].note) == ("not measured", "no such boot was run")
    assert table(section, "embedded: memory").headings == ("entry", "EFI, goes", "EFI, stays")


def test_a_boot_that_did_not_come_to_the_hand_off_has_no_count_of_it() -> None:
    late = result(
        Outcome.TIMED_OUT, "the time ran out", entry="linux64", handoff=None, milestones={}, instructions=29
    )
    section = costs_section(evaluation(counted("efi", 99_157_922), boot(task("linux64"), late)))
    cells = row(table(section, "embedded: instructions"), "linux64")
    assert cells["to the hand-off"].text == "not measured"
    assert "timed out" in cells["to the hand-off"].note


def test_a_time_that_a_loader_does_not_tell_is_not_blamed_on_its_boot() -> None:
    silent = result(
        Outcome.USER_SPACE, "", entry="ovmf", milestones={Milestone.USER_SPACE: 2.0}, instructions=None
    )
    runs = boot(task("ovmf", "qemu", TaskKind.USERSPACE), silent)
    found = table(costs_section(evaluation(*timed("efi", 3.0), runs)), "on qemu: milliseconds")
    assert row(found, "ovmf")["image entered"].note == "who boots it so does not tell it"
