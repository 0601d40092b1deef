# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernel logs are compared without times, addresses and amounts; what comes and goes stands apart."""

from __future__ import annotations

from pvefi.evaluate.analysis.messages import messages_section
from pvefi.evaluate.document import Mark
from pvefi.evaluate.task import TaskKind
from tests.evaluate.analysis.made import column, evaluation, failed, row, table, tables, task, told

EFI = """<6>[    0.000000] Linux version 6.1
<6>[    0.000000] Command line: console=ttyS0
<6>[    0.000000] efi: EFI v2.100 by pvefi
<6>[    0.010000] Memory: 450000K/524288K available
<6>[    0.020000] BIOS-e820: [mem 0x0000000000001000-0x000000000009efff] usable
<4>[    0.500000] a warning of EFI alone
"""
PVH = """<6>[    0.000000] Linux version 6.1
<6>[    0.000000] Command line: quiet
<6>[    0.011000] Memory: 451111K/524288K available
<6>[    0.022000] BIOS-e820: [mem 0x0000000000000000-0x000000000009fbff] usable
<6>[    0.030000] tsc: Detected 2400.000 MHz processor
"""


def test_lines_that_only_some_ways_have_are_rows_with_warnings_first() -> None:
    made = evaluation(told("efi", log=EFI), told("pvh", log=PVH))
    found = table(messages_section(made), "on qemu")
    assert column(found, "line") == [
        "a warning of EFI alone",
        "efi: EFI v2.100 by pvefi",
        "tsc: Detected 2400.000 MHz processor",
    ]
    warning = row(found, "a warning of EFI alone", at=3)
    assert (warning["level"].text, warning["level"].mark) == ("warning", Mark.BAD)
    assert (warning["efi"].text, warning["pvh"].text, warning["pvh"].mark) == ("yes", "no", Mark.DIFFERS)


def test_lines_that_are_alike_but_for_numbers_are_counted() -> None:
    made = evaluation(told("efi", log=EFI), told("pvh", log=PVH))
    assert table(messages_section(made), "on qemu").about.startswith("3 further lines are in every log, 0 of")


def test_the_command_line_is_no_difference_of_the_kernel_s() -> None:
    made = evaluation(told("efi", log=EFI), told("pvh", log=PVH))
    assert not any("ommand line" in text for text in column(table(messages_section(made), "on"), "line"))


def test_a_line_that_one_way_does_not_always_have_stands_apart() -> None:
    other = EFI.replace("a warning of EFI alone", "Linux version 6.1")
    counted = told("efi", kind=TaskKind.COUNT, log=other)
    made = evaluation(told("efi", log=EFI), counted, told("pvh", log=PVH))
    steady, chance = tables(messages_section(made))
    assert column(steady, "line") == ["efi: EFI v2.100 by pvefi", "tsc: Detected 2400.000 MHz processor"]
    assert column(chance, "line") == ["a warning of EFI alone"]
    assert chance.rows[0][1].text == "1 of 2"
    assert chance.folded


def test_one_log_is_nothing_to_compare() -> None:
    section = messages_section(evaluation(told("efi", log=EFI), failed(task("pvh", "qemu"))))
    assert section.parts == ()
    assert "Not measured" in section.text[-1]


def test_machines_are_not_compared_with_each_other() -> None:
    made = evaluation(told("efi", log=EFI), told("pvh", "xen", log=PVH))
    assert messages_section(made).parts == ()


def test_a_log_of_monstrous_lines_is_bounded() -> None:
    log = "".join(
        f"<6>[    0.1] line {'x' * 5000}{chr(97 + at % 26) * (at // 26 + 1)}\n" for at in range(500)
    )
    wild = "".join(f"<6>[    0.1] {chr(97 + at % 26)}{'y' * (at // 26 + 1)}\x1b[2J\n" for at in range(500))
    found = table(messages_section(evaluation(told("efi", log=log), told("pvh", log=wild))), "on qemu")
    assert len(found.rows) <= 150
    assert "left out" in found.about
    assert all(len(cell.text) <= 300 and cell.text.isprintable() for one in found.rows for cell in one)
