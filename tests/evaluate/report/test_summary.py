# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests of a report's head."""

from __future__ import annotations

from dataclasses import replace

from pvefi.evaluate.report.summary import facts, images, missing
from pvefi.evaluate.run import Gap
from pvefi.evaluate.task import BootHost, Problem, TaskKind, TaskResult
from tests.build.evaluation import evaluation, image, result


def texts(rows: tuple[tuple[object, ...], ...]) -> list[list[str]]:
    return [[str(getattr(cell, "text", "")) for cell in row] for row in rows]


def test_the_head_says_when_where_and_what() -> None:
    told = dict(facts(evaluation(results=[result(image()), result(image(), problem=Problem.CRASHED)])))
    assert told["when"] == ("2026-11-28 04:00:00 UTC",)
    assert told["where"] == ("AMD EPYC, 2 CPUs, Debian GNU/Linux 12",)
    assert told["machine qemu"] == ("QEMU 7.2.22, q35, TCG",)
    assert told["boots"][0].startswith("2 boots of 1.2 s together")
    assert told["boots"][1].startswith("1 of 2 ended as they were to")


def test_an_image_is_named_by_its_whole_hash() -> None:
    [row] = texts(images(evaluation()).rows)
    assert row == ["vmlinuz-6.1.0", "6.1.0-56-amd64", "bzImage", "7.7 MiB", "a" * 64]


def test_a_gap_is_missing_and_one_that_nobody_asked_for_is_told_without_a_mark() -> None:
    gaps = [Gap("xen", Problem.MACHINE, "no dom0"), Gap("ovmf", Problem.NONE, "not installed")]
    rows = missing(evaluation(gaps=gaps)).rows
    assert texts(rows) == [["xen", "no machine", "no dom0"], ["ovmf", "not available", "not installed"]]
    assert [row[1].mark for row in rows] == ["bad", ""]


def test_boots_that_failed_for_one_reason_are_one_row() -> None:
    died = [
        result(image(), entry, problem=Problem.CRASHED, why="Segmentation fault")
        for entry in ("efi", "efi", "linux64")
    ]
    results = [
        *died,
        result(image(), "pvh", outcome="faulted", message="#PF"),
        result(image(), "linux32"),
    ]
    assert texts(missing(evaluation(results=results)).rows) == [
        [
            "vmlinuz-6.1.0 on qemu: efi (handoff) 2 times, linux64 (handoff)",
            "machine failed",
            "crashed: Segmentation fault",
        ],
        ["vmlinuz-6.1.0 on qemu: pvh (handoff)", "failed", "faulted: #PF"],
    ]


def test_the_boot_of_a_program_is_told_to_be_for_its_end() -> None:
    program = replace(image("shell.efi"), is_kernel=False)
    failed = result(program, outcome="faulted", message="page fault")
    (row,) = missing(evaluation([program], [failed])).rows
    assert row[0].text == "shell.efi on qemu: efi (its end)"


def test_how_often_timed_boots_ran_is_told_by_those_that_are_there() -> None:
    kernel, program = image(), replace(image("shell.efi", digit="b"), is_kernel=False)
    timed = [result(kernel, kind=TaskKind.USERSPACE)] * 2
    other = [result(kernel, "linux64", kind=TaskKind.USERSPACE)]

    def said(*ran: TaskResult) -> str:
        return dict(facts(evaluation([kernel, program], ran)))["boots"][1]

    assert said(*timed, result(program)).endswith("; timed ones ran 2 times each")
    assert said(*timed, *other).endswith("; timed ones ran 1 to 2 times each")
    assert "timed" not in said(result(program))


def test_a_boot_that_did_not_get_as_far_as_it_was_to_is_missing() -> None:
    halfway = result(image(), kind=TaskKind.USERSPACE, outcome="timed out", message="300 s")
    assert [row[1] for row in texts(missing(evaluation(results=[halfway])).rows)] == ["timed out"]


def test_the_hosts_of_the_boots_are_named_not_that_of_the_report() -> None:
    far, farther = BootHost("far", "Xeon", 64), BootHost("farther", "EPYC", 1)
    told = dict(facts(evaluation(results=[result(image(), host=far)])))
    assert told["where"] == ("far: Xeon, 64 CPUs",)
    told = dict(facts(evaluation(results=[result(image(), host=one) for one in (far, farther, far)])))
    assert told["where"] == (
        "far: Xeon, 64 CPUs",
        "farther: EPYC, 1 CPU",
        "times are of different hosts: they say nothing of one another",
    )


def test_without_a_boot_only_the_reports_own_host_is_told_and_as_such() -> None:
    told = dict(facts(evaluation(results=[result(image(), problem=Problem.MACHINE, host=None)])))
    assert told["where"] == ("AMD EPYC, 2 CPUs, Debian GNU/Linux 12 (where this report was made)",)
