# SPDX-License-Identifier: GPL-2.0-or-later
"""Which services and protocols an image asks for: counted, in order, with what was refused."""

from __future__ import annotations

from pvefi.evaluate.analysis.services import services_section
from pvefi.evaluate.document import Mark, PictureKind
from pvefi.evaluate.task import TaskKind
from pvefi.spec.uefi.guids import LOADED_IMAGE_PROTOCOL, TCG2_PROTOCOL
from tests.evaluate.analysis.made import (
    PROGRAM,
    boot,
    call,
    column,
    evaluation,
    handed,
    pictures,
    row,
    table,
    task,
)
from tests.report.made import result

CALLS = (
    call(1, "HandleProtocol", str(LOADED_IMAGE_PROTOCOL)),
    call(2, "LocateProtocol", str(TCG2_PROTOCOL), "EFI_NOT_FOUND", "outside the profile"),
    call(3, "LocateProtocol", str(TCG2_PROTOCOL), "EFI_NOT_FOUND", "outside the profile"),
    call(4, "GetMemoryMap", status="EFI_BUFFER_TOO_SMALL", why="576 bytes are needed"),
    call(5, "GetMemoryMap"),
)


def test_services_stand_in_the_order_of_their_first_call() -> None:
    made = evaluation(boot(task("efi"), calls=CALLS))
    found = table(services_section(made), "by efi on embedded: services")
    assert column(found, "service") == ["HandleProtocol", "LocateProtocol", "GetMemoryMap"]
    assert column(found, "first call") == ["1", "2", "4"]
    assert column(found, "calls") == ["1", "2", "2"]
    assert column(found, "host, us") == ["10", "20", "20"]


def test_asking_for_a_size_is_no_refusal() -> None:
    made = evaluation(boot(task("efi"), calls=CALLS))
    found = table(services_section(made), "by efi on embedded: services")
    assert column(found, "refused") == ["0", "2", "0"]
    assert row(found, "LocateProtocol")["why"].text == "EFI_NOT_FOUND: outside the profile (2)"


def test_protocols_are_named_and_say_whether_they_were_found() -> None:
    made = evaluation(boot(task("efi"), calls=CALLS))
    found = table(services_section(made), "protocols")
    assert column(found, "protocol") == ["LOADED_IMAGE_PROTOCOL", "TCG2_PROTOCOL"]
    assert [one[2].mark for one in found.rows] == [Mark.GOOD, Mark.BAD]


def test_the_matrix_has_all_images_and_0_where_one_never_called() -> None:
    program = boot(task(image=PROGRAM), calls=(call(1, "HandleProtocol", str(LOADED_IMAGE_PROTOCOL)),))
    section = services_section(evaluation(boot(task("efi"), calls=CALLS), program))
    services, protocols = pictures(section)
    assert services.kind is protocols.kind is PictureKind.HEAT_MAP
    values = {(one["row"], one["column"]): one["value"] for one in services.records}
    assert values["GetMemoryMap", "vmlinuz"] == 2
    assert values["GetMemoryMap", "hello.efi"] == 0
    assert row(services.table, "HandleProtocol")["images"].value == 2
    assert row(services.table, "GetMemoryMap")["hello.efi"].text == "-"
    assert {one["row"] for one in protocols.records} == {"LOADED_IMAGE_PROTOCOL", "TCG2_PROTOCOL"}


def test_the_boot_with_the_most_calls_stands_for_the_image() -> None:
    early = boot(task("efi"), calls=CALLS[:2])
    whole = boot(task("efi", "qemu", TaskKind.FACTS), calls=CALLS)
    section = services_section(evaluation(early, whole))
    assert column(table(section, "by efi on qemu: services"), "calls") == ["1", "2", "2"]


def test_an_image_without_calls_is_named() -> None:
    section = services_section(evaluation(handed("pvh")))
    assert section.text[-1] == "No call was recorded of: vmlinuz."
    assert section.parts == ()


def test_calls_that_were_not_kept_are_said_to_be_left_out() -> None:
    made = evaluation(boot(task("efi"), result(calls_made=90_000), calls=CALLS))
    assert "vmlinuz 5 of 90,000" in services_section(made).text[1]


def test_lines_that_are_no_calls_are_left_out() -> None:
    lines = (
        {"index": 1},
        {"service": 5},
        {"service": "Stall", "arguments": [["a"], 5, ["b", {"guid": "?"}]]},
    )
    section = services_section(evaluation(boot(task("efi"), calls=lines)))
    found = table(section, "services")
    assert column(table(section, "Services by image"), "service") == ["Stall"]
    assert found.rows
