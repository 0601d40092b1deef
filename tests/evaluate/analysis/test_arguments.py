# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run shows on a point of 2016 follows from its boots, and is said to be missing where it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pvefi.evaluate.analysis.arguments import arguments_section
from pvefi.evaluate.document import Mark, Section, Table
from pvefi.evaluate.run import Evaluation, Host, ImageFacts
from pvefi.evaluate.task import Problem, Task, TaskKind, TaskResult
from pvefi.report.boot import to_json
from pvefi.verdict import Handoff, Proof
from tests.evaluate.made import facts, task_result
from tests.report.made import STARTUP_64, handoff, result

HEADINGS = [
    "Bypassing native startup_32() / startup_64()",
    "Small x86 zero page stubs",
    "EFI calling conventions are standardized",
    "EFI entry generalizes what new HVMLite entry proposes",
    "Further semantics may be needed",
    "Match Xen ARM's clean solution",
    "You don't need full EFI emulation",
    "Minimal EFI stubs for guests",
    "EFI stubs which may be needed for guests",
    "EFI stubs not needed for guests",
    "dom0 EFI",
    "domU EFI emulation possibilities",
    "kexec needs a boot path as well",
    "Legacy PV guests need to be supported",
    "Nulling the claimed boot loader effect",
    "startup_32 / startup_64 flexibility",
]
QUESTIONS = [
    "Boot loaders",
    "Other operating systems",
    "PE binaries",
    "OVMF from the start",
    "Why Xen ARM chose OVMF",
]
KERNEL = facts()
PROGRAM = facts("shimx64.efi", kind="EFI program", is_kernel=False, entries=("efi",), ways=("efi",))
XEN = facts("xen.efi", kind="EFI program", is_kernel=False, entries=("efi",), ways=("efi",))


def evaluation(*results: TaskResult, images: tuple[ImageFacts, ...] = (KERNEL,)) -> Evaluation:
    return Evaluation(
        command="pvefi evaluate vmlinuz -o out",
        started="2026-01-01T00:00:00Z",
        seconds=1.0,
        repeat=1,
        jobs=1,
        host=Host("a CPU", 2, "Linux", "3.11", "0.1.0", ()),
        images=images,
        machines=("embedded", "qemu"),
        results=results,
        gaps=(),
    )


def task(entry: str, kind: TaskKind = TaskKind.HANDOFF, image: ImageFacts = KERNEL) -> Task:
    machine = "embedded" if kind is TaskKind.HANDOFF else "qemu"
    return Task(image.file, entry, machine, kind)


def to_handoff(entry: str, calls: tuple[str, ...] = (), **fields: Any) -> TaskResult:
    """Return a boot to the hand-off by an entry, in which these services were called and granted."""
    made = result(entry=entry, handoff=handoff(**fields))
    lines = tuple({"index": at, "service": name, "status": "EFI_SUCCESS"} for at, name in enumerate(calls, 1))
    return task_result(task(entry), boot=to_json(made), calls=lines)


def to_user_space(entry: str, seconds: float, calls: tuple[str, ...] = ()) -> TaskResult:
    lines = tuple({"index": at, "service": name, "status": "EFI_SUCCESS"} for at, name in enumerate(calls, 1))
    boot = {
        "verdict": {"outcome": "user space", "message": "", "status": None},
        "milestones": {"user space": seconds},
    }
    return task_result(task(entry, TaskKind.USERSPACE), boot=boot, calls=lines)


def placed(slide: int, **fields: Any) -> dict[str, Any]:
    """Return the fields of a hand-off whose kernel was moved by `slide` bytes."""
    proof = Proof(0x1000000 + slide, 0x200000, STARTUP_64, STARTUP_64, 0x1000000, 0)
    return {"proof": proof, "kernel_entry": proof.address, **fields}


def said(section: Section, heading: str) -> tuple[str, str, Mark]:
    """Return what the run shows on a point, what that speaks for, and its mark."""
    rows = [row for part in section.parts if isinstance(part, Table) for row in part.rows]
    (row,) = [row for row in rows if row[0].text == heading]
    return row[2].text, row[3].text, row[3].mark


def test_every_heading_of_the_page_has_a_row_whatever_was_run() -> None:
    section = arguments_section(evaluation(images=()))
    tables = [part for part in section.parts if isinstance(part, Table)]
    assert [row[0].text for table in tables for row in table.rows] == HEADINGS + QUESTIONS
    for heading in HEADINGS + QUESTIONS:
        shows, speaks, mark = said(section, heading)
        assert shows.startswith("not measured here: "), heading
        assert (speaks, mark) == ("not measured here", Mark.MISSING)


def test_boots_that_failed_speak_for_nothing() -> None:
    failed = task_result(task("efi"), problem=Problem.MACHINE, why="no QEMU", boot={})
    section = arguments_section(evaluation(failed))
    for heading in ("EFI calling conventions are standardized", "You don't need full EFI emulation"):
        assert said(section, heading)[1] == "not measured here"


def test_a_way_round_the_native_start_that_loses_kaslr_speaks_for_the_point() -> None:
    pvh = to_handoff("pvh", **placed(0, kernel_start="PHYS32_ENTRY"))
    shows, speaks, mark = said(
        arguments_section(evaluation(to_handoff("efi", **placed(0x2000000)), pvh)), HEADINGS[0]
    )
    assert (speaks, mark) == ("for it", Mark.GOOD)
    assert "pvh at PHYS32_ENTRY" in shows
    assert "at the place it was linked for: vmlinuz by pvh physically (moved by efi)." in shows


@pytest.mark.parametrize(("efi", "pvh"), [(0, 0), (0x2000000, 0x4000000)])
def test_a_way_round_that_loses_nothing_speaks_for_neither(efi: int, pvh: int) -> None:
    run = evaluation(
        to_handoff("efi", **placed(efi)), to_handoff("pvh", **placed(pvh, kernel_start="PHYS32_ENTRY"))
    )
    assert said(arguments_section(run), HEADINGS[0])[1] == "undecided"


def test_stubs_are_compared_with_the_efi_entry_field_by_field() -> None:
    run = evaluation(to_handoff("efi", **placed(0)), to_handoff("linux64", **placed(0), command_line="other"))
    shows, speaks, _ = said(arguments_section(run), HEADINGS[1])
    assert speaks == "for it"
    assert "By linux64 the kernel proper begins at startup_64" in shows
    assert "vmlinuz: linux64 1 (0 of boot_params)" in shows
    same = evaluation(to_handoff("efi", **placed(0)), to_handoff("linux64", **placed(0)))
    assert "vmlinuz: linux64 0 (0 of boot_params)" in said(arguments_section(same), HEADINGS[1])[0]


def test_a_convention_is_a_standard_where_two_firmwares_boot_by_it() -> None:
    alone = evaluation(to_handoff("efi"))
    assert said(arguments_section(alone), HEADINGS[2])[1] == "undecided"
    both = evaluation(to_handoff("efi"), to_user_space("ovmf", 3.0))
    assert said(arguments_section(both), HEADINGS[2])[1] == "for it"


def test_what_pvh_gives_and_efi_lacks_speaks_against_the_generalisation() -> None:
    bare: Handoff = handoff()
    without = replace(bare, command_line="")
    lacking = evaluation(
        task_result(task("efi"), boot=to_json(result(handoff=without))),
        to_handoff("pvh", kernel_start="PHYS32_ENTRY"),
    )
    shows, speaks, mark = said(arguments_section(lacking), HEADINGS[3])
    assert (speaks, mark) == ("against it", Mark.BAD)
    assert "lacks a command line (vmlinuz)" in shows
    alike = evaluation(to_handoff("efi"), to_handoff("pvh", kernel_start="PHYS32_ENTRY"))
    assert said(arguments_section(alike), HEADINGS[3])[1] == "for it"


def test_semantics_are_told_by_the_table_where_a_hand_off_has_it() -> None:
    by_table = evaluation(to_handoff("efi"), to_handoff("linux64", configuration_tables=()))
    shows, speaks, _ = said(arguments_section(by_table), HEADINGS[4])
    assert speaks == "measured"  # that a table is there, is pvefi's own doing
    assert "as a configuration table by efi" in shows
    assert "not at all by linux64" in shows


def test_two_services_are_enough_only_where_nothing_else_was_granted() -> None:
    two = ("GetMemoryMap", "ExitBootServices")
    section = arguments_section(evaluation(to_handoff("efi", two)))
    assert said(section, "Minimal EFI stubs for guests")[1] == "for it"
    assert said(section, "EFI stubs not needed for guests")[1] == "not measured here"
    more = arguments_section(evaluation(to_handoff("efi", (*two, "AllocatePool", "SetVirtualAddressMap"))))
    shows, speaks, _ = said(more, "Minimal EFI stubs for guests")
    assert speaks == "undecided"
    assert "Granted besides: AllocatePool 1, SetVirtualAddressMap 1" in shows
    assert "4 were called" in said(more, "You don't need full EFI emulation")[0]


def test_what_is_not_called_up_to_the_hand_off_may_be_called_later() -> None:
    heading = "EFI stubs not needed for guests"
    early = arguments_section(evaluation(to_handoff("efi", ("GetMemoryMap",))))
    assert said(early, heading)[0].endswith("ended at the hand-off, or before user space")
    whole = evaluation(to_user_space("efi", 2.0, ("GetMemoryMap",)))
    assert said(arguments_section(whole), heading)[1] == "for it"
    needs = evaluation(to_user_space("efi", 2.0, ("GetMemoryMap", "SetVirtualAddressMap")))
    shows, speaks, _ = said(arguments_section(needs), heading)
    assert (speaks, "SetVirtualAddressMap 1" in shows) == ("undecided", True)


@pytest.mark.parametrize(
    ("ovmf", "speaks"), [(9.0, "for it"), (1.5, "against it")], ids=["dearer", "cheaper"]
)
def test_an_environment_of_ones_own_is_held_against_ovmfs_time(ovmf: float, speaks: str) -> None:
    section = arguments_section(evaluation(to_user_space("efi", 3.0), to_user_space("ovmf", ovmf)))
    shows, found, _ = said(section, "domU EFI emulation possibilities")
    assert found == speaks
    assert f"3,000 against {1000 * ovmf:,.0f} ms to user space on qemu ({ovmf / 3:.3g} x)" in shows
    assert said(section, "OVMF from the start")[1] == "measured"


def test_kernels_that_still_have_the_xen_pv_entry_are_counted() -> None:
    section = arguments_section(evaluation(to_handoff("efi")))
    assert said(section, HEADINGS[13])[0].startswith(
        "Kernels that still have the Xen PV entry: 1 of 1: vmlinuz."
    )
    without = replace(KERNEL, entries=("efi",))
    shows, speaks, _ = said(arguments_section(evaluation(images=(without,))), HEADINGS[13])
    assert (shows.split(".")[0], speaks) == ("Kernels that still have the Xen PV entry: 0 of 1", "against it")


@pytest.mark.parametrize(
    ("entry", "speaks"), [("qemu-pvh", "against it"), ("xen-pvh", "for it"), ("ovmf", "undecided")]
)
def test_who_else_takes_the_entry_made_for_xen_decides_on_the_boot_loader_effect(
    entry: str, speaks: str
) -> None:
    assert said(arguments_section(evaluation(to_user_space(entry, 2.0))), HEADINGS[14])[1] == speaks


def test_a_32_bit_kernel_without_the_efi_entry_speaks_for_flexibility() -> None:
    assert said(arguments_section(evaluation(to_handoff("efi"))), HEADINGS[15])[1] == "undecided"
    small = replace(KERNEL, bits=32)
    run = evaluation(to_handoff("linux32"), images=(small,))
    shows, speaks, _ = said(arguments_section(run), HEADINGS[15])
    assert speaks == "for it"
    assert "in 32-bit mode by linux32" in shows


def test_programs_that_are_no_kernels_answer_the_questions_on_loaders_and_other_systems() -> None:
    refused = {"value": 1 << 63 | 3, "name": "EFI_UNSUPPORTED", "meaning": ""}
    ended = {"verdict": {"outcome": "exited", "message": "the image returned", "status": None}}
    failed = {"verdict": {"outcome": "exited", "message": "the image returned", "status": refused}}
    volume = {"guid": "964e5b22-6459-11d2-8e39-00a0c969723b", "name": "SIMPLE_FILE_SYSTEM_PROTOCOL"}
    asks = ({"index": 1, "service": "HandleProtocol", "arguments": {"Protocol": volume}},)
    says = "Xen 4.17.7 (c/s ) EFI loader\r\n"
    runs = (
        task_result(task("efi", image=PROGRAM), boot=failed, calls=asks),
        task_result(task("efi", image=XEN), boot=ended, calls=asks, console=says),
    )
    section = arguments_section(evaluation(*runs, images=(PROGRAM, XEN)))
    shows, speaks, _ = said(section, "Boot loaders")
    assert shows.endswith(": shimx64.efi: exited with EFI_UNSUPPORTED.")
    assert speaks == "measured"
    assert said(section, "Other operating systems")[0].endswith("no loaders: xen.efi: exited.")
    shows = said(section, "dom0 EFI")[0]
    assert shows.startswith("Xen's EFI loader was entered: xen.efi")
    assert "how that ended: exited: the image returned" in shows
    assert "PE binaries with an EFI entry: 2 of 2" in said(section, "PE binaries")[0]


def test_names_of_files_and_words_of_guests_are_escaped_and_bounded(tmp_path: Path) -> None:
    hostile = facts("\x1b[2J" + "x" * 9000)
    calls = tuple(f"\x1b]0;{number}" * 50 for number in range(2000))
    made = result(entry="efi", handoff=handoff())
    lines = tuple({"index": at, "service": name, "status": "EFI_SUCCESS"} for at, name in enumerate(calls))
    run = task_result(task("efi", image=hostile), boot=to_json(made), calls=lines)
    section = arguments_section(evaluation(run, images=(hostile,)))
    for part in section.parts:
        assert isinstance(part, Table)
        for row in part.rows:
            for one in row:
                assert one.text.isprintable()
                assert len(one.text) <= 1200
