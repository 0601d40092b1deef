# SPDX-License-Identifier: GPL-2.0-or-later
"""Hand-offs beside each other: only what differs, against the first entry that has one."""

from __future__ import annotations

from dataclasses import replace

from pvefi.evaluate.analysis.handoffs import handoffs_section
from pvefi.evaluate.document import Mark
from pvefi.evaluate.task import TaskKind
from pvefi.spec.linux.setup_data import SetupDataType
from pvefi.verdict import SegmentMapping, SetupDataNode
from tests.evaluate.analysis.made import column, evaluation, failed, handed, row, table, task
from tests.report.made import STARTUP_64, boot_params, handoff

MOVED = replace(handoff().proof, address=0x6C00000)


def test_fields_that_are_equal_for_all_are_counted_and_not_shown() -> None:
    made = evaluation(handed("efi"), handed("linux64", decompressor="entered"))
    found = table(handoffs_section(made), "on embedded")
    assert column(found, "field") == ["decompressor"]
    assert "boot_params 2" in found.about
    cells = row(found, "decompressor")
    assert (cells["efi"].text, cells["efi"].mark) == ("bypassed", Mark.NONE)
    assert (cells["linux64"].text, cells["linux64"].mark) == ("entered", Mark.DIFFERS)
    assert "the decompressor in the image" in cells["what it is"].text


def test_what_stands_elsewhere_is_moved_and_says_why() -> None:
    registers = dict(handoff().registers) | {"rip": MOVED.address}
    made = evaluation(handed("efi"), handed("efi-handover", proof=MOVED, registers=registers))
    cells = row(table(handoffs_section(made), "on embedded"), "proof: address")
    assert (cells["efi-handover"].mark, cells["efi-handover"].note) == (Mark.MOVED, "KASLR")


def test_every_column_is_compared_with_the_first_hand_off_there_is() -> None:
    made = evaluation(
        failed(task("efi")),
        handed("linux64", command_line="quiet"),
        handed("linux32", command_line="quiet"),
        handed("pvh", command_line="loud"),
    )
    found = table(handoffs_section(made), "on embedded")
    assert found.headings == ("field", "linux64", "linux32", "pvh", "what it is")
    cells = row(found, "command_line")
    marks = [cells[entry].mark for entry in ("linux64", "linux32", "pvh")]
    assert marks == [Mark.NONE, Mark.NONE, Mark.DIFFERS]


def test_what_is_known_of_both_values_names_the_entries() -> None:
    secure = replace(boot_params(), secure_boot=type(boot_params().secure_boot)(2)).pack()
    made = evaluation(handed("efi", boot_params=secure), handed("linux64"))
    note = row(table(handoffs_section(made), "on embedded"), "secure_boot")["linux64"].note
    assert "efi: DISABLED" in note
    assert "A:" not in note


def test_leftovers_in_registers_are_no_difference() -> None:
    registers = dict(handoff().registers) | {"r9": 0x1234567}
    made = evaluation(
        handed("efi"), handed("efi-handover", registers=registers), handed("pvh", command_line="")
    )
    assert column(table(handoffs_section(made), "on embedded"), "field") == ["command_line"]


def test_mappings_and_setup_data_are_compared() -> None:
    node = SetupDataNode(0x1000, SetupDataType.RNG_SEED, 32, bytes(32))
    mapping = (SegmentMapping(0x4C00000, 0x1800000, "r-x", 0x1800000, 0, 0x1800000, 0), handoff().mapping[1])
    made = evaluation(handed("efi"), handed("kexec", setup_data=(node,), mapping=mapping))
    found = table(handoffs_section(made), "on embedded")
    nodes = row(found, "setup_data: nodes")
    assert (nodes["efi"].text, nodes["kexec"].text) == ("none", "RNG_SEED")
    segment = row(found, "mapping: segment 0")
    assert (segment["efi"].text, segment["kexec"].text) == ("rwx", "r-x")


def test_an_entry_without_tables_has_none_of_each() -> None:
    made = evaluation(handed("efi"), handed("efi-handover"), handed("linux64", configuration_tables=()))
    cells = row(table(handoffs_section(made), "on embedded"), "configuration tables: LINUX_RANDOM_SEED")
    assert (cells["linux64"].text, cells["linux64"].mark) == ("none", Mark.DIFFERS)
    assert cells["efi-handover"].mark is Mark.NONE


def test_an_entry_without_an_efi_map_differs_in_one_row() -> None:
    made = evaluation(handed("efi"), handed("linux64", memory_map=()))
    found = table(handoffs_section(made), "on embedded")
    assert [name for name in column(found, "field") if "Efi" in name] == []
    assert row(found, "EFI memory map: descriptors")["linux64"].text == "none"


def test_a_header_that_is_copied_or_not_is_one_row() -> None:
    names = ("setup_sects", "boot_flag", "header", "kernel_alignment", "min_alignment", "init_size")
    whole = boot_params()
    bare = replace(whole, hdr=replace(whole.hdr, **dict.fromkeys(names, 0)))
    made = evaluation(handed("efi", boot_params=bare.pack()), handed("linux64"))
    found = table(handoffs_section(made), "on embedded")
    cells = row(found, f"hdr.* ({len(names)} fields)")
    assert (cells["efi"].text, cells["linux64"].text) == ("0", "the same value")
    assert all(name in cells["what it is"].text for name in names)


def test_what_a_loader_writes_into_the_header_has_a_row_of_its_own() -> None:
    names = ("type_of_loader", "loadflags", "code32_start", "heap_end_ptr", "cmd_line_ptr")
    whole = boot_params()
    bare = replace(whole, hdr=replace(whole.hdr, **dict.fromkeys(names, 0)))
    full = replace(whole, hdr=replace(whole.hdr, **dict.fromkeys(names, 7)))
    made = evaluation(handed("efi", boot_params=bare.pack()), handed("linux64", boot_params=full.pack()))
    fields = column(table(handoffs_section(made), "on embedded"), "field")
    assert {f"hdr.{name}" for name in names} <= set(fields)


def test_rows_of_a_second_machine_that_say_the_same_are_left_out() -> None:
    made = evaluation(
        handed("efi"),
        handed("linux64", decompressor="entered"),
        handed("efi", "qemu"),
        handed("linux64", "qemu", decompressor="entered", command_line="quiet"),
    )
    section = handoffs_section(made)
    assert column(table(section, "on embedded"), "field") == ["decompressor"]
    assert column(table(section, "on qemu"), "field") == ["command_line"]
    assert table(section, "on qemu").folded


def test_one_hand_off_is_nothing_to_compare() -> None:
    section = handoffs_section(evaluation(handed("efi"), failed(task("pvh"))))
    assert section.parts == ()
    assert "nothing to compare" in section.text[-1]


def test_boots_for_other_ends_are_not_compared() -> None:
    other = handed("linux64", command_line="quiet")
    other = replace(other, task=replace(other.task, kind=TaskKind.USERSPACE))
    assert handoffs_section(evaluation(handed("efi"), other)).parts == ()


def test_code_that_was_only_relocated_says_nothing_of_the_entry() -> None:
    found = STARTUP_64.replace(b"\x51", b"\x52")
    made = evaluation(handed("efi"), handed("efi-handover", proof=replace(handoff().proof, found=found)))
    assert handoffs_section(made).parts == ()
