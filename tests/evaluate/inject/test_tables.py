# SPDX-License-Identifier: GPL-2.0-or-later
"""The document of `pvefi inject` as tables, and as Markdown."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pvefi.efi.intervention import parse_fault
from pvefi.errors import UsageError
from pvefi.evaluate.document import Cell, Mark, Section, Table
from pvefi.evaluate.inject.document import Experiment, command_of, to_json
from pvefi.evaluate.inject.findings import Effect, Finding
from pvefi.evaluate.inject.markdown import to_markdown
from pvefi.evaluate.inject.plan import Injection, Plan
from pvefi.evaluate.inject.tables import sections
from pvefi.evaluate.inject.text import finding_lines
from pvefi.machines.embedded import EmbeddedMachine
from pvefi.prepare import BootOptions
from pvefi.report.json_node import Node
from pvefi.spec.uefi.status import EfiStatus
from tests.report.made import result

FAULTS = (
    Finding(
        Injection(parse_fault("FreePool#1=EFI_INVALID_PARAMETER"), 4), Effect.GOES_ON, "", None, "", True, 1.0
    ),
    Finding(
        Injection(parse_fault("AllocatePool#1=EFI_OUT_OF_RESOURCES"), 7),
        Effect.FAILS,
        "ended",
        EfiStatus.LOAD_ERROR,
        "",
        True,
        1.0,
    ),
    Finding(
        Injection(parse_fault("AllocatePool#1:exhausted"), 7),
        Effect.CRASHES,
        "a | b\x1b[2J",
        None,
        "",
        True,
        1.0,
    ),
)


def experiment(**options: Any) -> Experiment:
    path = Path("/folder/it's.efi")
    made = BootOptions(path, EmbeddedMachine(), seed=0, **options)
    return Experiment(made, result(image=str(path)), Plan(tuple(one.injection for one in FAULTS), 0), FAULTS)


def node() -> Node:
    return Node(to_json(experiment()), "inject.json")


def table(title: str) -> Table:
    (found,) = [part for one in sections(node()) for part in one.parts if part.title == title]
    assert isinstance(found, Table)
    return found


def cells(row: tuple[Cell, ...]) -> list[str]:
    return [one.text for one in row]


def test_the_effects_are_counted_by_service() -> None:
    counts = table("By service")
    assert counts.headings == ("service", "calls", "fails cleanly", "goes on", "hangs", "crashes")
    assert [cells(row) for row in counts.rows] == [
        ["FreePool", "1", "0", "1", "0", "0"],
        ["AllocatePool", "1", "1", "0", "0", "1"],
    ]
    assert counts.rows[1][5].mark is Mark.BAD


def test_each_call_is_a_row_and_each_fault_a_column() -> None:
    calls = table("By call")
    assert calls.headings == ("call", "number", "INVALID_PARAMETER", "OUT_OF_RESOURCES", "exhausted")
    assert [cells(row) for row in calls.rows] == [
        ["FreePool#1", "4", "goes on*", "", ""],
        ["AllocatePool#1", "7", "", "fails cleanly, silent", "crashes"],
    ]


def test_a_crash_is_told_with_the_line_that_repeats_it() -> None:
    (row,) = table("Crashes and hangs").rows
    command = (
        "pvefi boot '/folder/it'\"'\"'s.efi' --machine embedded --seed 0 --inject 'AllocatePool#1:exhausted'"
    )
    assert cells(row) == ["AllocatePool#1:exhausted", "crashes", "a | b\x1b[2J", command]


def test_without_a_crash_there_is_no_section_of_crashes() -> None:
    good = Experiment(experiment().options, result(), Plan((), 0), FAULTS[:1])
    found: tuple[Section, ...] = sections(Node(to_json(good), "inject.json"))
    assert [one.name for one in found] == ["inject"]


def test_what_is_not_as_boot_has_it_is_said_in_the_command() -> None:
    made = experiment(
        command_line="a b", initrd=Path("initrd"), memory_size=64 << 20, entry="pvh", esp=Path("esp")
    ).options
    line = command_of(made, FAULTS[0].injection, hangs=True)
    assert line.endswith("--entry pvh --initrd initrd --cmdline 'a b' --esp esp --memory 64M --timeout 60")


def test_an_image_whose_name_looks_like_an_option_is_none_in_the_command() -> None:
    line = command_of(replace(experiment().options, image=Path("-x.efi")), FAULTS[0].injection)
    assert shlex.split(line)[:3] == ["pvefi", "boot", "./-x.efi"]


def test_markdown_shows_what_a_guest_said_as_it_stands() -> None:
    text = to_markdown(node())
    assert text.startswith("## Fault injection\n")
    assert "\n## Crashes and hangs\n" in text
    assert "a \\| b" in text
    assert "\x1b" not in text


def test_another_document_is_refused() -> None:
    with pytest.raises(UsageError, match="expected a document pvefi/inject of version 1"):
        to_markdown(Node({"schema": "pvefi/inject", "version": 2}, "inject.json"))


def test_calls_of_a_service_that_fare_alike_are_one_line() -> None:
    found = tuple(
        Finding(
            Injection(parse_fault(f"FreePool#{call}=EFI_INVALID_PARAMETER"), call),
            effect,
            "",
            None,
            "x",
            False,
            1.0,
        )
        for call, effect in ((1, Effect.FAILS), (2, Effect.FAILS), (3, Effect.CRASHES), (4, Effect.FAILS))
    )
    made = Experiment(experiment().options, result(), Plan(tuple(one.injection for one in found), 0), found)
    lines = [line.plain.split() for line in finding_lines(made, None)]
    assert ["FreePool#1-2,4", "fails", "cleanly", "INVALID_PARAMETER"] in lines
    assert ["FreePool#3", "crashes", "INVALID_PARAMETER"] in lines
