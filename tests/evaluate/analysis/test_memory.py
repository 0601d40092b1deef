# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory maps as pictures with their tables, and e820 by entry."""

from __future__ import annotations

from pvefi.evaluate.analysis.memory import memory_section
from pvefi.evaluate.document import Mark, PictureKind
from pvefi.spec.linux.e820 import E820Type
from tests.evaluate.analysis.made import BOOT_PARAMS, evaluation, handed, pictures, table, told
from tests.report.made import E820_MAP, boot_params, e820

IOMEM = b"""00000000-00000fff : Reserved
00001000-0009ffff : System RAM
000a0000-000bffff : PCI Bus 0000:00
00100000-1effffff : System RAM
  01000000-01ffffff : Kernel code
fd00000000-ffffffffff : Reserved
"""


def test_before_and_after_are_panels_up_to_the_end_of_memory() -> None:
    (picture,) = pictures(memory_section(evaluation(handed("efi"))))
    assert picture.kind is PictureKind.MEMORY_MAPS
    panels = list(dict.fromkeys(one["panel"] for one in picture.records))
    assert panels == ["EFI map at ExitBootServices", "e820 as handed over"]
    assert all(one["start"] < one["end"] <= 0x20000000 for one in picture.records)  # type: ignore[operator]  # numbers
    first = picture.records[0]
    assert (first["start"], first["end"], first["type"]) == (0, 0x1000, "EfiReservedMemoryType")
    assert len(picture.table.rows) == len(picture.records)


def test_the_running_kernel_s_own_parts_stand_instead_of_the_memory_they_lie_in() -> None:
    made = evaluation(handed("efi", "qemu"), told("efi", files={"/proc/iomem": IOMEM}))
    (picture,) = pictures(memory_section(made))
    running = [
        (one["start"], one["end"], one["type"])
        for one in picture.records
        if one["panel"] == "the running kernel"
    ]
    assert running == [
        (0, 0x1000, "Reserved"),
        (0x1000, 0xA0000, "System RAM"),
        (0x100000, 0x1000000, "System RAM"),
        (0x1000000, 0x2000000, "Kernel code"),
        (0x2000000, 0x1F000000, "System RAM"),
    ]


def test_intervals_of_which_not_all_entries_say_the_same_are_rows() -> None:
    other = (e820(E820Type.RAM, 0, 0x1000), *E820_MAP[1:])
    made = evaluation(handed("efi"), handed("linux64", boot_params=boot_params(other).pack()))
    found = table(memory_section(made), "e820 by entry")
    assert [[cell.text for cell in one] for one in found.rows] == [
        ["0000000000-0000000fff", "4 KiB", "reserved", "usable"]
    ]
    assert found.rows[0][3].mark is Mark.DIFFERS


def test_the_kernel_s_own_copy_goes_before_the_record() -> None:
    other = boot_params((e820(E820Type.RAM, 0, 0x1000), *E820_MAP[1:])).pack()
    made = evaluation(
        handed("efi", "qemu"), told("efi", files={BOOT_PARAMS: other}), handed("linux64", "qemu")
    )
    assert table(memory_section(made), "e820 by entry").rows[0][2].text == "usable"


def test_without_any_map_it_is_said_to_be_missing() -> None:
    section = memory_section(evaluation(told("efi")))
    assert section.parts == ()
    assert "Not measured" in section.text[-1]
