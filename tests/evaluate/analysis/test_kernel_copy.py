# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's own copy: all ways beside each other, and proof of what was recorded."""

from __future__ import annotations

from dataclasses import replace

from pvefi.evaluate.analysis.kernel_copy import kernel_copy_section
from pvefi.evaluate.document import Mark
from tests.evaluate.analysis.made import BOOT_PARAMS, evaluation, handed, row, table, told
from tests.report.made import E820_MAP, boot_params

SEED = {
    "/sys/kernel/boot_params/setup_data/0/type": b"0x9\n",
    "/sys/kernel/boot_params/setup_data/1/type": b"0x4\n",
}


def page(**header: int) -> dict[str, bytes]:
    return {BOOT_PARAMS: boot_params(E820_MAP, **header).pack()}


def test_zero_pages_of_loaders_that_nobody_looks_into_are_compared() -> None:
    made = evaluation(told("efi", files=page()), told("ovmf", files=page(type_of_loader=0xB0) | SEED))
    found = table(kernel_copy_section(made), "boot_params as the kernel has it")
    loader = row(found, "hdr.type_of_loader")
    assert (loader["efi"].text, loader["ovmf"].text, loader["ovmf"].mark) == ("0x21", "0xb0", Mark.DIFFERS)
    assert "Qemu" in loader["ovmf"].note
    assert row(found, "setup_data")["ovmf"].text == "RNG_SEED EFI"
    assert not any(one[0].text == "hdr.loadflags" for one in found.rows)


def test_a_place_is_moved_where_both_have_one() -> None:
    made = evaluation(told("efi", files=page()), told("ovmf", files=page(cmd_line_ptr=0x1000000)))
    found = table(kernel_copy_section(made), "boot_params as the kernel has it")
    assert row(found, "hdr.cmd_line_ptr")["ovmf"].mark is Mark.MOVED


def test_a_record_that_says_the_same_is_proven() -> None:
    made = evaluation(
        handed("efi", "qemu"), told("efi", files=page(ramdisk_size=5, ramdisk_image=7, cmd_line_ptr=0x3000))
    )
    cells = row(table(kernel_copy_section(made), "the recorded hand-off"), "efi")
    assert (cells["differ"].text, cells["differ"].mark) == ("none", Mark.GOOD)
    assert cells["put elsewhere"].text == "hdr.cmd_line_ptr"
    assert cells["other initrd"].text == "hdr.ramdisk_image, hdr.ramdisk_size"


def test_a_record_that_says_something_else_is_shown_with_both_values() -> None:
    made = evaluation(handed("efi", "qemu"), told("efi", files=page(loadflags=2)))
    cells = row(table(kernel_copy_section(made), "the recorded hand-off"), "efi")
    assert cells["differ"].mark is Mark.DIFFERS
    assert cells["differ"].text == "hdr.loadflags 0x83 -> 0x2"


def test_a_place_that_is_lost_is_no_move() -> None:
    made = evaluation(handed("efi", "qemu"), told("efi", files=page(cmd_line_ptr=0)))
    assert "hdr.cmd_line_ptr" in row(table(kernel_copy_section(made), "recorded"), "efi")["differ"].text


def test_records_of_another_machine_prove_nothing() -> None:
    made = evaluation(handed("efi"), told("efi", files=page()), told("pvh", files=page()))
    section = kernel_copy_section(made)
    assert ["recorded" in one.title for one in section.parts] == [False]


def test_a_page_of_another_size_is_none() -> None:
    short = {BOOT_PARAMS: boot_params().pack()[:-1]}
    section = kernel_copy_section(evaluation(told("efi", files=short), told("pvh", files=short)))
    assert section.parts == ()
    assert "Not measured" in section.text[-1]


def test_the_order_of_fields_is_that_of_the_page() -> None:
    other = replace(boot_params(type_of_loader=1), acpi_rsdp_addr=0)
    made = evaluation(told("efi", files=page()), told("pvh", files={BOOT_PARAMS: other.pack()}))
    found = table(kernel_copy_section(made), "as the kernel has it")
    assert [one[0].text for one in found.rows[:2]] == ["acpi_rsdp_addr", "hdr.type_of_loader"]
