# SPDX-License-Identifier: GPL-2.0-or-later
"""What the host side, as a first kernel, leaves to the one that it starts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pvefi.boot import Observer, boot
from pvefi.efi.profiles import PROFILES
from pvefi.entries import BootInfo
from pvefi.entries.kexec import with_linux_addresses
from pvefi.errors import UsageError
from pvefi.machines.embedded import EmbeddedMachine
from pvefi.prepare import BootOptions, prepare, prepare_all
from pvefi.report.handoff import handoff_to_json, long_sections
from pvefi.spec.linux.boot_params import BootParams, SecureBootMode
from pvefi.spec.linux.e820 import E820Type
from pvefi.spec.linux.setup_data import EfiSetupData, SetupDataType
from pvefi.spec.linux.setup_header import XLoadFlag
from pvefi.spec.pvefi.hypervisor_information import SETUP_DATA_TYPE
from pvefi.spec.uefi import guids
from pvefi.spec.uefi.memory import MemoryAttribute, MemoryDescriptor, MemoryType
from pvefi.verdict import BootResult, Handoff, Outcome
from tests.build.bzimage import SETUP_SIZE, build_bzimage
from tests.conftest import RealFiles

MIB = 1 << 20
UD2 = b"\x0f\x0b"
TOP = 0xFFFF_FFFF_0000_0000
WITHOUT_KEXEC = XLoadFlag.XLF_KERNEL_64 | XLoadFlag.XLF_CAN_BE_LOADED_ABOVE_4G


def options(folder: Path, data: bytes, profile: str = "linux") -> BootOptions:
    path = folder / "kernel"
    path.write_bytes(data)
    machine = EmbeddedMachine()
    given = PROFILES[profile]
    return BootOptions(path, machine, entry="kexec", profile=given, memory_size=128 * MIB, timeout=30)


def run(given: BootOptions) -> BootResult:
    return boot(prepare(given), Observer(lambda _: None, lambda _: None, lambda _: None))


def test_without_services_that_stay_there_is_nothing_to_leave_to_a_second_kernel(tmp_path: Path) -> None:
    given = options(tmp_path, build_bzimage(), profile="minimal")
    with pytest.raises(UsageError, match=r"whose runtime services stay for the entry kexec, found minimal"):
        prepare(given)
    assert "kexec" not in [one.options.entry for one in prepare_all(given)]
    assert "kexec" in [one.options.entry for one in prepare_all(replace(given, profile=PROFILES["linux"]))]


@pytest.mark.parametrize("header", [{"xloadflags": WITHOUT_KEXEC}, {"version": 0x20B}], ids=str)
def test_a_kernel_that_knows_nothing_of_it_has_no_such_entry(tmp_path: Path, header: dict[str, Any]) -> None:
    given = options(tmp_path, build_bzimage(**header))
    with pytest.raises(UsageError, match=r"the 64-bit entry kexec, found .*, entries: efi"):
        prepare(given)


def test_a_kernel_that_fails_at_once_is_a_fault_with_its_address(tmp_path: Path) -> None:
    data = bytearray(build_bzimage())
    data[SETUP_SIZE + 0x200 : SETUP_SIZE + 0x202] = UD2
    verdict = run(options(tmp_path, bytes(data))).verdict
    assert verdict.outcome is Outcome.FAULTED
    assert "kernel+0x200" in verdict.message


def descriptor(start: int, pages: int, kind: MemoryType, attribute: int = 0) -> MemoryDescriptor:
    return MemoryDescriptor(kind, 0, start, 0, pages, attribute)


def test_addresses_go_down_from_the_top_and_keep_their_place_in_two_mebibytes() -> None:
    runtime = MemoryAttribute.RUNTIME
    made = with_linux_addresses(
        (
            descriptor(0x1000, 1, MemoryType.CONVENTIONAL),
            descriptor(0x80_0000, 2, MemoryType.RUNTIME_SERVICES_CODE, runtime),
            descriptor(0x80_2000, 12, MemoryType.RUNTIME_SERVICES_DATA, runtime),
            descriptor(0x81_0000, 9, MemoryType.BOOT_SERVICES_CODE),
            descriptor(0x1000_0000, 0x400, MemoryType.BOOT_SERVICES_DATA),
            descriptor(0x2000_0000, 1, MemoryType.ACPI_RECLAIM),
            descriptor(0x3000_0000, 1, MemoryType.MEMORY_MAPPED_IO, runtime),
        )
    )
    assert [(one.physical_start, TOP - one.virtual_start) for one in made] == [
        (0x3000_0000, 0x20_0000),
        (0x1000_0000, 0x60_0000),
        (0x81_0000, 0x80_0000 - 0x1_0000),
        (0x80_2000, 0x80_0000 - 0x2000),
        (0x80_0000, 0x80_0000),
    ]


@pytest.fixture(scope="session")
def handoff(corpus: RealFiles) -> Handoff:
    given = BootOptions(
        corpus.file("cloud", "boot/vmlinuz-*"),
        EmbeddedMachine(),
        entry="kexec",
        boot_info=BootInfo.SETUP_DATA,
        timeout=240,
    )
    result = run(given)
    assert result.verdict.outcome is Outcome.HANDOFF, result.verdict
    assert result.handoff is not None
    return result.handoff


def test_the_second_kernel_is_given_the_runtime_memory_with_the_addresses_of_the_first(
    handoff: Handoff,
) -> None:
    params = BootParams.unpack(handoff.boot_params)
    assert handoff.decompressor == "entered"
    assert params.efi_info.efi_loader_signature == b"EL64"
    assert params.secure_boot is SecureBootMode.DISABLED
    runtime = [one for one in handoff.memory_map if one.attribute & MemoryAttribute.RUNTIME]
    assert [replace(one, virtual_start=0) for one in reversed(handoff.runtime_map)] == runtime
    assert handoff.runtime_map == tuple(
        one for one in with_linux_addresses(handoff.memory_map) if one.attribute & MemoryAttribute.RUNTIME
    )
    reserved = [one for one in params.memory_map if one.type == E820Type.RESERVED]
    for one in runtime:
        assert any(
            part.addr <= one.physical_start
            and one.physical_start + one.number_of_pages * 4096 <= part.addr + part.size
            for part in reserved
        )


def test_the_second_kernel_is_given_physical_addresses_in_setup_data(handoff: Handoff) -> None:
    assert [node.type for node in handoff.setup_data] == [
        SetupDataType.RNG_SEED,
        SetupDataType.EFI,
        SETUP_DATA_TYPE,
    ]
    seed, efi, _ = handoff.setup_data
    assert (seed.size, len(set(seed.data)) > 1) == (32, True)
    (runtime_data,) = (one for one in handoff.memory_map if one.type == MemoryType.RUNTIME_SERVICES_DATA)
    data = EfiSetupData.unpack(efi.data)
    end = runtime_data.physical_start + runtime_data.number_of_pages * 4096
    assert runtime_data.physical_start <= data.fw_vendor < end
    assert runtime_data.physical_start <= data.tables < end
    tables = {table.guid: table.address for table in handoff.configuration_tables}
    assert guids.PVEFI_HYPERVISOR_INFORMATION not in tables
    (of_seed,) = (
        one
        for one in handoff.memory_map
        if one.physical_start <= tables[guids.LINUX_RANDOM_SEED] and one.type == MemoryType.ACPI_RECLAIM
    )
    assert of_seed.physical_start == tables[guids.LINUX_RANDOM_SEED] // 4096 * 4096


def test_a_report_shows_what_a_first_kernel_has_left(handoff: Handoff) -> None:
    text = "\n".join(line.plain for line in long_sections(handoff))
    data = EfiSetupData.unpack(handoff.setup_data[1].data)
    assert f"firmware vendor {data.fw_vendor:#x}, configuration tables {data.tables:#x}" in text
    for one in handoff.runtime_map:
        assert f"at  {one.virtual_start:#x}" in text
    document = json.loads(json.dumps(handoff_to_json(handoff)))
    assert [node["type"]["name"] for node in document["setup_data"][:2]] == ["RNG_SEED", "EFI"]
    assert document["setup_data"][1]["efi"]["tables"] == data.tables
    assert [one["virtual_start"] for one in document["runtime_map"]] == [
        one.virtual_start for one in handoff.runtime_map
    ]
