# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest
from hypothesis import given as examples
from hypothesis import settings
from hypothesis import strategies as st

from pvefi.report.handoff_diff import HandoffDiff, diff_boots
from pvefi.report.handoff_diff_text import diff_lines, diff_to_json
from pvefi.spec.linux.boot_params import EFI64_LOADER_SIGNATURE, BootParams, EfiInfo
from pvefi.spec.linux.e820 import E820Type
from pvefi.spec.linux.setup_header import XLoadFlag
from pvefi.spec.uefi.guids import ACPI_20_TABLE, LINUX_RANDOM_SEED
from pvefi.spec.uefi.memory import MemoryDescriptor, MemoryType
from pvefi.trace.contrast import WIDTH
from pvefi.verdict import ConfigurationTable, Outcome, Proof
from tests.report.diffs import boot, compare, given, names, row
from tests.report.made import E820_MAP, EFI_MAP, STARTUP_64, boot_params, descriptor, e820, handoff, result

REGISTERS = handoff().registers
SAME: dict[str, object] = {}


def text(diff: HandoffDiff) -> list[str]:
    return [line.plain for line in diff_lines(diff)]


def registers(**values: int) -> dict[str, object]:
    return {"registers": {**REGISTERS, **values}}


def proof(address: int, virtual_slide: int | None, found: bytes = STARTUP_64) -> Proof:
    return Proof(address, 0x200000, STARTUP_64, found, 0x1000000, virtual_slide)


def test_a_hand_off_is_equal_to_itself() -> None:
    diff = compare(SAME, SAME)
    assert diff.equal
    assert not diff.differences
    assert f"equal: all {len(diff.rows)} fields of the two hand-offs" in text(diff)
    assert not [line for line in text(diff) if "differ" in line]


CHANGES: list[dict[str, object]] = [
    {"decompressor": "entered"},
    {"kernel_start": "startup_xen"},
    registers(rax=7, rflags=0x86),
    {"command_line": "nokaslr"},
    {"initrd_address": 0x1C000000},
    {"initrd_size": 0},
    {"memory_map": ()},
    {"memory_map": EFI_MAP[:5]},
    {"configuration_tables": ()},
    {"configuration_tables": (ConfigurationTable(ACPI_20_TABLE, 0x1FFFE000),)},
    {"boot_params": boot_params(loadflags=1, cmd_line_ptr=0x1DFF0000).pack()},
    {"boot_params": boot_params(E820_MAP[:3]).pack()},
    {"proof": proof(0x6000000, 0x9000000)},
]


@examples(st.sampled_from(CHANGES), st.sampled_from(CHANGES))
@settings(max_examples=60)
def test_exchanging_the_boots_exchanges_the_answer(a: dict[str, object], b: dict[str, object]) -> None:
    one, two = compare(a, b), compare(b, a)
    assert {(row.section, row.name, row.texts, row.moved) for row in one.rows} == {
        (row.section, row.name, row.texts[::-1], row.moved) for row in two.rows
    }


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: next(iter(change)))
def test_every_change_is_a_difference_that_fits_a_mail(change: dict[str, object]) -> None:
    diff = compare(SAME, change)
    assert diff.differences
    assert not diff.equal
    assert max(map(len, text(diff))) <= WIDTH
    json.dumps(diff_to_json(diff), allow_nan=False)


def test_the_path_is_compared_with_its_meaning() -> None:
    diff = compare(SAME, {"decompressor": "entered"})
    assert names(diff) == ["path: decompressor"]
    found = row(diff, "decompressor")
    assert found.values == ("bypassed", "entered")
    assert "the decompressor in the image" in found.explained


def test_kaslr_is_marked_where_the_code_is_the_same() -> None:
    moved = STARTUP_64[:-1] + b"\x99"
    a = {"proof": proof(0x4C00000, None), **registers(rip=0x4C00000, rax=0x4C00000)}
    b = {"proof": proof(0x6000000, 0x9000000, moved), **registers(rip=0x6000000, rax=0x6000000)}
    diff = compare(a, b)
    assert {one.name for one in diff.differences if one.moved} == {
        *("address", "slide", "virtual_slide", "found"),
        *("rax", "rip"),
    }
    assert row(diff, "rip").moved == "kernel in both"
    assert row(diff, "found").texts == ("as linked", "linked + 0x9000000")


def test_another_kernel_is_not_kaslr() -> None:
    other = Proof(0x6000000, 0x200000, bytes(40), bytes(40), 0x1000000, None)
    diff = compare({"proof": proof(0x4C00000, None)}, {"proof": other})
    assert not any(one.moved for one in diff.differences if one.section == "proof")
    assert {"proof: expected", "proof: found"} <= set(names(diff))


def test_registers_that_point_into_the_kernel_are_equal_by_their_offset() -> None:
    a = {"proof": proof(0x4C00000, None), **registers(r11=0x4C00000 + 0x2000, r12=0x4C00000 + 0x2000)}
    b = {"proof": proof(0x6000000, None), **registers(r11=0x6000000 + 0x2000, r12=0x6000000 + 0x3000)}
    diff = compare(a, b)
    assert row(diff, "r11").moved == "kernel+0x2000 in both"
    assert row(diff, "r12").moved == ""
    assert row(diff, "r12").explained == "A: kernel+0x2000; B: kernel+0x3000"


def test_virtual_addresses_are_equal_as_linked() -> None:
    linked = 0xFFFFFFFF82000000
    a = {"proof": proof(0x4C00000, 0x1000000), **registers(rcx=linked + 0x1000000)}
    b = {"proof": proof(0x6000000, 0x5000000), **registers(rcx=linked + 0x5000000)}
    assert row(compare(a, b), "rcx").moved == "virtual 0xffffffff82000000 as linked in both"


def test_a_register_that_no_protocol_sets_says_so() -> None:
    found = row(compare(SAME, registers(r9=5)), "r9")
    assert (found.explained, found.moved) == ("left over, boot.rst demands nothing", "")


def test_flags_are_named_that_one_side_has() -> None:
    diff = compare(registers(rflags=0x6, cr0=0x80010033), registers(rflags=0x12, cr0=0x80000033))
    assert row(diff, "rflags").explained == "flags; A has PF, B has AF"
    assert row(diff, "cr0").explained == "paging and protection; A has WP"


def test_a_register_that_one_side_lacks_is_not_told() -> None:
    fewer = {name: value for name, value in REGISTERS.items() if name != "cr4"}
    assert row(compare(SAME, {"registers": fewer}), "cr4").texts == ("0x20", "not told")


def test_boot_params_are_told_by_name_purpose_and_meaning() -> None:
    flags = XLoadFlag.XLF_KERNEL_64 | XLoadFlag.XLF_5LEVEL
    diff = compare(SAME, {"boot_params": boot_params(xloadflags=flags, setup_sects=0).pack()})
    assert names(diff) == ["boot_params: hdr.setup_sects", "boot_params: hdr.xloadflags"]
    found = row(diff, "hdr.xloadflags")
    assert found.explained == "what the kernel can; A has XLF_EFI_HANDOVER_64; B has XLF_5LEVEL"
    assert row(diff, "hdr.setup_sects").explained.endswith("A: 20 KiB with the boot sector")


def test_addresses_in_boot_params_are_marked_unless_one_is_null() -> None:
    elsewhere = boot_params(cmd_line_ptr=0x1DFF0000, ramdisk_image=0)
    diff = compare(SAME, {"boot_params": elsewhere.pack()})
    assert row(diff, "hdr.cmd_line_ptr").moved == "allocated elsewhere"
    assert row(diff, "hdr.ramdisk_image").moved == ""


def test_halves_of_an_address_are_one_field() -> None:
    above = replace(boot_params(), ext_cmd_line_ptr=1).pack()
    diff = compare(SAME, {"boot_params": above})
    assert names(diff) == ["boot_params: hdr.cmd_line_ptr"]
    assert row(diff, "hdr.cmd_line_ptr").texts == ("0x1dfff000", "0x11dfff000")


def test_an_efi_kernel_against_one_without_efi() -> None:
    bare = replace(boot_params(), efi_info=EfiInfo(bytes(4), 0, 0, 0, 0, 0, 0, 0))
    diff = compare(SAME, {"boot_params": bare.pack(), "memory_map": (), "configuration_tables": ()})
    assert row(diff, "efi_info.efi_loader_signature").texts == (EFI64_LOADER_SIGNATURE.hex(), "00000000")
    assert row(diff, "descriptors").texts == (f"{len(EFI_MAP)}", "none")
    assert [one.name for one in diff.rows if one.section == "EFI memory map"] == ["descriptors"]
    assert row(diff, "(all)").texts[1] == "none"
    assert "LINUX_RANDOM_SEED" in row(diff, "(all)").texts[0]


def test_a_table_that_one_side_lacks_is_named() -> None:
    only = (ConfigurationTable(ACPI_20_TABLE, 0x1FFFE014), ConfigurationTable(LINUX_RANDOM_SEED, 0x1000))
    diff = compare(SAME, {"configuration_tables": only})
    assert row(diff, "PVEFI_HYPERVISOR_INFORMATION").texts == ("0x1f00f000", "none")
    assert row(diff, "LINUX_RANDOM_SEED").moved == "allocated elsewhere"
    assert row(diff, "ACPI_20_TABLE").equal


def test_tables_of_one_guid_are_compared_in_their_order() -> None:
    twice = tuple(ConfigurationTable(ACPI_20_TABLE, address) for address in (0x1000, 0x2000))
    diff = compare({"configuration_tables": twice}, {"configuration_tables": twice[::-1]})
    assert [one.texts for one in diff.differences] == [("0x1000", "0x2000"), ("0x2000", "0x1000")]


def test_command_line_and_initrd_are_compared() -> None:
    diff = compare(SAME, {"command_line": "nokaslr", "initrd_sha256": "0" * 64, "initrd_address": 0x1C000000})
    assert {"given: command_line", "given: initrd.address", "given: initrd.sha256"} == set(names(diff))
    assert row(diff, "initrd.address").moved == ""
    diff = compare(SAME, {"initrd_address": 0x1C000000})
    assert row(diff, "initrd.address").moved == "allocated elsewhere"
    assert row(compare(SAME, {"initrd_size": 0}), "initrd").texts == ("1,048,576 bytes", "none")


def test_context_is_told_but_not_judged() -> None:
    diff = diff_boots(boot(result()), boot(result(profile="minimal", seconds=9.0)))
    assert diff.equal
    assert any(line.split() == ["profile", "linux", "minimal"] for line in text(diff))
    assert any(line.split() == ["seconds", "2.612", "9.000"] for line in text(diff))


def test_a_boot_without_a_hand_off_is_told() -> None:
    diff = diff_boots(given(), boot(result(Outcome.FAULTED, "page fault at 0x10")))
    assert not diff.equal
    assert "B has no hand-off to compare" in text(diff)
    assert "   faulted: page fault at 0x10" in text(diff)
    assert diff_to_json(diff)["fields"] == 0


def test_a_guests_text_cannot_steer_the_terminal() -> None:
    nasty: dict[str, object] = {
        "command_line": "\x1b[2J\ud800",
        "decompressor": "\x1b[31m",
        "initrd_sha256": "\x1b",
    }
    assert all(line.isprintable() for line in text(compare(SAME, nasty)))


def test_the_document_has_numbers_and_reasons() -> None:
    diff = compare(SAME, {"boot_params": boot_params(cmd_line_ptr=0x1DFF0000).pack(), **registers(r9=5)})
    document = json.loads(json.dumps(diff_to_json(diff)))
    assert (document["schema"], document["version"], document["equal"]) == ("pvefi/handoff-diff", 1, False)
    moved = {one["name"]: one for one in document["differences"]}
    assert moved["hdr.cmd_line_ptr"]["a"] == 0x1DFFF000
    assert moved["hdr.cmd_line_ptr"]["moved"] == "allocated elsewhere"
    assert moved["r9"]["moved"] is None
    assert document["equal_fields"]["path"] == 3
    assert document["fields"] == len(diff.rows)


def test_e820_is_compared_by_what_it_says_of_each_address() -> None:
    split = (*E820_MAP[:2], e820(E820Type.RAM, 0x100000, 0x200000), e820(E820Type.RAM, 0x200000, 0x1F000000))
    diff = compare(SAME, {"boot_params": boot_params((*split, *E820_MAP[3:])).pack()})
    assert names(diff) == ["boot_params: e820_entries", "e820: entries"]


def test_an_e820_type_that_differs_is_an_interval() -> None:
    other = (*E820_MAP[:3], e820(E820Type.RAM, 0x1F000000, 0x1F010000), *E820_MAP[4:])
    diff = compare(SAME, {"boot_params": boot_params(other).pack()})
    found = row(diff, "001f000000-001f00ffff")
    assert found.texts == ("reserved", "usable")
    assert found.explained == "64 KiB"
    by_type = [one for one in diff.differences if one.section == "e820 by type"]
    assert [(one.name, one.explained) for one in by_type] == [
        ("reserved", "bytes; A has 64 KiB more"),
        ("usable", "bytes; B has 64 KiB more"),
    ]


def map_with_kernel(start: int) -> tuple[MemoryDescriptor, ...]:
    """Return EFI_MAP with a kernel of 16 MiB at `start`, where 64 to 480 MiB are free."""
    (at,) = (at for at, one in enumerate(EFI_MAP) if one.physical_start == 0x4000000)
    kernel = [
        descriptor(MemoryType.CONVENTIONAL, 0x4000000, start),
        descriptor(MemoryType.LOADER_CODE, start, start + 0x1000000),
        descriptor(MemoryType.CONVENTIONAL, start + 0x1000000, 0x1E000000),
    ]
    return (*EFI_MAP[:at], *kernel, *EFI_MAP[at + 1 :])


def test_a_kernel_elsewhere_is_marked_in_the_efi_map() -> None:
    diff = compare(
        {"memory_map": map_with_kernel(0x6000000), "proof": proof(0x6000000, None)},
        {"memory_map": map_with_kernel(0xA000000), "proof": proof(0xA000000, None)},
    )
    found = [one for one in diff.differences if one.section == "EFI memory map"]
    assert [one.moved for one in found] == ["allocated elsewhere"] * 2
    assert [one.texts for one in found] == [
        ("EfiLoaderCode", "EfiConventionalMemory"),
        ("EfiConventionalMemory", "EfiLoaderCode"),
    ]
    assert found[0].explained == "16 MiB; A: kernel"
    assert found[1].explained == "16 MiB; B: kernel"
    assert not [one for one in diff.differences if one.section == "EFI memory map by type"]


def test_memory_of_another_type_is_not_moved() -> None:
    at = next(at for at, one in enumerate(EFI_MAP) if one.type is MemoryType.RUNTIME_SERVICES_DATA)
    other = (*EFI_MAP[:at], replace(EFI_MAP[at], type=MemoryType.BOOT_SERVICES_DATA), *EFI_MAP[at + 1 :])
    diff = compare(SAME, {"memory_map": other})
    (found,) = [one for one in diff.differences if one.section == "EFI memory map"]
    assert found.moved == ""
    assert "PVEFI_HYPERVISOR_INFORMATION" in found.explained


def test_attributes_are_told_where_the_types_are_the_same() -> None:
    other = (*EFI_MAP[:1], replace(EFI_MAP[1], attribute=1), *EFI_MAP[2:])
    (found,) = compare(SAME, {"memory_map": other}).differences
    assert found.texts == ("EfiConventionalMemory WB|WT|WC|UC", "EfiConventionalMemory UC")


maps = st.lists(
    st.builds(
        lambda kind, start, size: descriptor(MemoryType(kind), start << 12, (start + size) << 12),
        st.integers(0, 20),
        st.integers(0, 12),
        st.integers(0, 6),
    ),
    max_size=6,
).map(tuple)


@examples(maps, maps)
@settings(max_examples=60)
def test_maps_of_any_quality_are_compared(a: tuple[object, ...], b: tuple[object, ...]) -> None:
    diff = compare({"memory_map": a}, {"memory_map": b})
    assert all(line.isprintable() for line in text(diff))
    if a == b:
        assert diff.equal


@examples(st.integers(0, 1 << 32))
@settings(max_examples=20)
def test_boot_params_of_any_content_are_compared(seed: int) -> None:
    page = random.Random(seed).randbytes(BootParams.SIZE)
    lines = text(compare(SAME, {"boot_params": page}))
    assert all(line.isprintable() for line in lines)
    assert max(map(len, lines)) <= WIDTH
