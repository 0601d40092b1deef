# SPDX-License-Identifier: GPL-2.0-or-later
"""What a path gives is told with its evidence, what it lacks as lacking, and the rest as not measured."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest

from pvefi.evaluate.analysis.paths import paths_section
from pvefi.evaluate.document import Cell, Mark
from pvefi.evaluate.run import Evaluation
from pvefi.evaluate.task import TaskKind
from pvefi.spec.linux.setup_data import SetupDataType
from pvefi.spec.uefi.guids import RNG_PROTOCOL, TCG2_PROTOCOL
from pvefi.verdict import SegmentMapping, SetupDataNode
from tests.evaluate.analysis.made import (
    BOOT_PARAMS,
    boot,
    call,
    evaluation,
    failed,
    handed,
    row,
    table,
    task,
    told,
)
from tests.report.made import boot_params, handoff, result

WRITABLE = (0x1000, 0x1000, 0x1000, 0x1000)


def cells(made: Evaluation, name: str) -> dict[str, Cell]:
    return row(table(paths_section(made), "vmlinuz"), name)


def kcore(virtual: int, physical: int) -> bytes:
    """Return the headers of /proc/kcore with one segment of the kernel's text."""
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header = ident + struct.pack("<HHIQQQIHHHHHH", 4, 62, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    return header + struct.pack("<IIQQQQQQ", 1, 7, 0x1000, virtual, physical, 0x1000, 0x1000, 0x1000)


def test_the_decompressor_is_told_where_it_was_watched() -> None:
    made = evaluation(handed("efi"), handed("linux64", decompressor="entered"), told("ovmf"))
    found = cells(made, "decompressor")
    assert [found[entry].text for entry in ("efi", "linux64", "ovmf")] == [
        "bypassed",
        "entered",
        "not measured",
    ]
    assert found["ovmf"].note


def test_places_are_counted_over_all_boots_of_an_entry() -> None:
    proof = handoff().proof
    fixed = replace(proof, address=proof.linked_address, virtual_slide=0)
    text = {"/proc/kcore": kcore(0xFFFFFFFF81000000 + 0x5000000, 0x9000000)}
    made = evaluation(
        handed("efi"),
        handed("efi", "qemu", proof=replace(proof, address=0x8000000, virtual_slide=0x200000)),
        told("efi", files=text),
        handed("pvh", proof=fixed),
    )
    physical, virtual = cells(made, "KASLR, physical"), cells(made, "KASLR, virtual")
    assert (physical["efi"].text, physical["efi"].mark) == ("3 places in 3 boots", Mark.GOOD)
    assert "0x8000000" in physical["efi"].note
    assert (physical["pvh"].text, physical["pvh"].mark) == ("none: as linked in 1 boot", Mark.BAD)
    assert virtual["efi"].text == "3 places in 3 boots"
    assert "0x5000000" in virtual["efi"].note


def test_a_seed_is_told_by_the_means_that_carried_it() -> None:
    node = SetupDataNode(0x1000, SetupDataType.RNG_SEED, 32, bytes(32))
    rng = (call(1, "EFI_RNG_PROTOCOL.GetRNG", str(RNG_PROTOCOL)),)
    made = evaluation(
        boot(task("efi"), calls=rng),
        handed("kexec", setup_data=(node,), configuration_tables=()),
        handed("linux64", configuration_tables=()),
        told("ovmf", log="<6>[    0.0] efi: SMBIOS=0x1 RNG=0x1f000 \n"),
    )
    found = cells(made, "random seed")
    assert found["efi"].text == "LINUX_EFI_RANDOM_SEED table"
    assert found["efi"].note == "GetRNG called once"
    assert found["kexec"].text == "setup_data RNG_SEED"
    assert (found["linux64"].text, found["linux64"].mark) == ("none", Mark.BAD)
    assert found["ovmf"].text == "LINUX_EFI_RANDOM_SEED table"


def test_writable_and_executable_memory_is_told_in_parts_of_the_kernel() -> None:
    strict = tuple(
        SegmentMapping(0, 0x1000, linked, 0x1000, writable, runs, 0)
        for linked, writable, runs in (("r-x", 0, 0x1000), ("rw-", 0x1000, 0))
    )
    loose = (SegmentMapping(0, 0x1000, "r-x", *WRITABLE), replace(strict[1], address=0x1000))
    made = evaluation(
        handed("efi", mapping=strict), handed("linux64", mapping=loose), handed("pvh", mapping=())
    )
    found = cells(made, "W^X at the hand-off")
    assert (found["efi"].text, found["efi"].mark) == ("yes", Mark.GOOD)
    assert found["linux64"].text == "no: 50 % writable and executable"
    assert "linked r-x: rwx; linked rw-: rw-" in found["linux64"].note
    assert found["pvh"].text == "not measured"


def test_a_kernel_that_is_not_seen_in_the_page_tables_has_no_verdict() -> None:
    unseen = SegmentMapping(0, 0x1000, "r-x", 0, 0, 0, 0)
    seen = SegmentMapping(0x1000, 0x1000, "rw-", 0x1000, 0x1000, 0, 0)
    made = evaluation(handed("efi", mapping=(unseen,)), handed("linux64", mapping=(unseen, seen)))
    found = cells(made, "W^X at the hand-off")
    assert found["efi"].text == "not measured"
    assert (found["linux64"].text, found["linux64"].mark) == ("yes, of the 50 % that were seen", Mark.NONE)


@pytest.mark.parametrize("words", ["crng init done", "crng done (trusting CPU's manufacturer)"])
def test_random_numbers_are_ready_in_the_words_of_old_and_new_kernels(words: str) -> None:
    made = evaluation(told("efi", log=f"<5>[    0.250000] random: {words}\n"))
    assert cells(made, "random numbers ready")["efi"].text == "at 0.250 s"


@pytest.mark.parametrize("name", ["random seed", "TPM event log"])
def test_what_only_a_log_would_tell_is_not_measured_without_one(name: str) -> None:
    made = evaluation(told("ovmf", files={BOOT_PARAMS: boot_params().pack()}))
    assert cells(made, name)["ovmf"].text == "not measured"


def test_by_what_means_another_firmware_gave_the_initrd_is_not_told() -> None:
    found = cells(evaluation(told("ovmf", files={BOOT_PARAMS: boot_params().pack()})), "initrd")["ovmf"]
    assert found.mark is Mark.NONE
    assert "not told" in found.note


def test_the_cpu_s_means_against_writable_code_are_told() -> None:
    registers = {**handoff().registers, "cr0": 0x80010033, "efer": 0x500}
    found = cells(evaluation(handed("efi", registers=registers)), "what W^X needs of the CPU")
    assert (found["efi"].text, found["efi"].mark) == ("CR0.WP on, EFER.NXE off", Mark.BAD)


def test_a_tpm_log_that_nobody_has_says_whether_it_was_asked_for() -> None:
    asked = (call(1, "LocateProtocol", str(TCG2_PROTOCOL), "EFI_NOT_FOUND", "outside the profile"),)
    found = cells(evaluation(boot(task("efi"), calls=asked), handed("pvh")), "TPM event log")
    assert (found["efi"].text, found["efi"].mark) == ("none", Mark.BAD)
    assert found["efi"].note == "TCG2_PROTOCOL was asked for once: EFI_NOT_FOUND"
    assert found["pvh"].note == ""


def test_the_acpi_pointer_is_told_by_how_the_kernel_finds_it() -> None:
    none = {BOOT_PARAMS: replace(boot_params(), acpi_rsdp_addr=0).pack()}
    searched = "<6>[    0.0] ACPI: RSDP 0x00000000000F36A0 000014 (v00 BOCHS )\n"
    made = evaluation(
        handed("efi"),
        handed("linux64", configuration_tables=()),
        told("qemu-linux", files=none, log=searched),
        told("qemu-pvh", files=none, log=searched),
        told("linux32", files=none),
    )
    found = cells(made, "ACPI root pointer")
    assert found["efi"].text == "EFI table"
    assert found["linux64"].text == "boot_params, 0x1fffe014"
    assert found["qemu-linux"].text == "no pointer: it searched for it"
    assert found["qemu-pvh"].text == "hvm_start_info, or found"
    assert (found["linux32"].text, found["linux32"].mark) == ("none", Mark.BAD)


def test_the_initrd_is_told_by_its_means() -> None:
    loads = (
        call(1, "EFI_LOAD_FILE2_PROTOCOL.LoadFile", status="EFI_BUFFER_TOO_SMALL", why="5 bytes"),
        call(2, "EFI_LOAD_FILE2_PROTOCOL.LoadFile"),
    )
    params = boot_params()
    bare = replace(params, hdr=replace(params.hdr, ramdisk_size=0)).pack()
    made = evaluation(
        boot(task("efi"), calls=loads), handed("linux64"), told("pvh", files={BOOT_PARAMS: bare})
    )
    found = cells(made, "initrd")
    assert found["efi"].text == "EFI_LOAD_FILE2_PROTOCOL"
    assert found["linux64"].text == "boot_params"
    assert (found["pvh"].text, found["pvh"].mark) == ("none given", Mark.MISSING)


def test_an_entry_that_never_ran_is_no_column() -> None:
    made = evaluation(handed("efi"), failed(task("pvh")))
    assert "pvh" not in table(paths_section(made), "vmlinuz").headings


def test_the_machine_on_which_the_kernel_spoke_is_taken() -> None:
    made = evaluation(handed("efi"), told("efi", files={BOOT_PARAMS: boot_params().pack()}))
    assert "Seen on: efi qemu" in table(paths_section(made), "vmlinuz").about


def test_what_the_running_kernel_checked_is_told() -> None:
    passed = "<6>[    1.0] x86/mm: Checked W+X mappings: passed, no W+X pages found.\n"
    bad = "<4>[    1.0] x86/mm: Checked W+X mappings: FAILED, 5 W+X pages found.\n"
    made = evaluation(told("efi", log=passed), told("pvh", log=bad), told("ovmf", kind=TaskKind.FACTS))
    found = cells(made, "W^X in the running kernel")
    assert [found[entry].mark for entry in ("efi", "pvh", "ovmf")] == [Mark.GOOD, Mark.BAD, Mark.MISSING]


def test_programs_have_no_such_table() -> None:
    made = evaluation(boot(task("efi"), result()))
    image = replace(made.images[0], is_kernel=False)
    assert paths_section(replace(made, images=(image,))).parts == ()
