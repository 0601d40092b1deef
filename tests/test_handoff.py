# SPDX-License-Identifier: GPL-2.0-or-later
"""Recognising the kernel proper by its own bytes, and reading what it is given."""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvefi.errors import GuestFault
from pvefi.handoff import DECOMPRESSOR, KERNEL_PROPER, KernelWatch, collect, kernel_watch, virtual_slide
from pvefi.image import Image, inspect
from pvefi.layout import Guid
from pvefi.memory import GuestMemory, RamBlock
from pvefi.spec.linux.boot_params import BootParams, EfiInfo
from pvefi.spec.linux.setup_data import SetupData, SetupDataType
from pvefi.spec.uefi.memory import MemoryDescriptor, MemoryType
from pvefi.verdict import ConfigurationTable, Handoff, SetupDataNode
from tests.build.bzimage import SETUP_SIZE, build_bzimage
from tests.build.elf import PHYSICAL, Load, build_elf
from tests.build.pe import build_pe

MIB, GIB = 1 << 20, 1 << 30
ALIGNMENT = 2 * MIB
EFI_FIELDS = [name for name in EfiInfo.__dataclass_fields__ if name != "efi_loader_signature"]
CODE = bytes(range(48))


def memory(size: int = 64 * MIB, high: int = 0) -> GuestMemory:
    blocks = [RamBlock(0, memoryview(mmap.mmap(-1, size)))]
    if high:
        blocks.append(RamBlock(4 * GIB, memoryview(mmap.mmap(-1, high))))
    return GuestMemory(blocks)


def inspected(folder: Path, data: bytes) -> tuple[Image, bytes]:
    path = folder / "vmlinuz"
    path.write_bytes(data)
    return inspect(path), data


def watch_of(folder: Path, data: bytes) -> KernelWatch:
    watch = kernel_watch(*inspected(folder, data))
    assert watch is not None
    return watch


# ---------------------------------------------------------------- what is watched for


def test_a_kernel_is_watched_for_by_its_entry_s_code(tmp_path: Path) -> None:
    data = build_bzimage(build_elf([Load(data=bytes(range(200)))], entry=PHYSICAL + 0x20))
    watch = watch_of(tmp_path, data)
    assert watch.code == bytes(range(0x20, 0x50))
    assert (watch.linked_address, watch.offset) == (PHYSICAL + 0x20, 0x20)
    assert watch.alignment == ALIGNMENT
    vmlinux = build_elf([Load(data=bytes(range(200)))], entry=PHYSICAL + 0x20)
    assert vmlinux[watch.file_offset : watch.file_offset + 48] == watch.code


def test_a_program_is_not_watched_for(tmp_path: Path) -> None:
    assert kernel_watch(*inspected(tmp_path, build_pe())) is None


def test_a_bare_vmlinux_is_watched_for_without_a_decompressor(tmp_path: Path) -> None:
    watch = kernel_watch(*inspected(tmp_path, build_elf()))
    assert watch is not None
    assert {point.label for point in watch.watchpoints(memory(), (0,))} == {KERNEL_PROPER}


def test_every_place_where_the_kernel_may_start_is_watched(tmp_path: Path) -> None:
    watch = watch_of(tmp_path, build_bzimage(build_elf(entry=PHYSICAL + 0x40)))
    points = list(watch.watchpoints(memory(high=4 * MIB), (18 * MIB,)))
    kernels = [point.address for point in points if point.label == KERNEL_PROPER]
    low = [at + 0x40 for at in range(0, 64 * MIB, ALIGNMENT)]
    assert kernels == [*low, 4 * GIB + 0x40, 4 * GIB + ALIGNMENT + 0x40]


def test_the_decompressor_is_watched_for_where_the_image_has_it(tmp_path: Path) -> None:
    made = bytearray(build_bzimage())
    made[SETUP_SIZE : SETUP_SIZE + 0x240] = random.Random(1).randbytes(0x240)
    data = bytes(made)
    watch = watch_of(tmp_path, data)
    found = {
        point.address: point.matches
        for point in watch.watchpoints(memory(), (18 * MIB,))
        if point.label == DECOMPRESSOR
    }
    for offset in (0, 0x200):
        for place in (18 * MIB + SETUP_SIZE, 20 * MIB):
            assert found[place + offset](data[SETUP_SIZE + offset :][:48])
            assert not found[place + offset](data[SETUP_SIZE + offset + 1 :][:48])


def test_the_image_s_own_copy_is_where_its_sections_put_it(tmp_path: Path) -> None:
    watch = watch_of(tmp_path, build_bzimage())
    assert watch.protected_mode_rva == SETUP_SIZE


@pytest.mark.parametrize("alignment", [0, 1, 0x1000, 3 * MIB, 0xFFFF_FFFF])
def test_an_alignment_that_no_64_bit_kernel_has_is_not_believed(tmp_path: Path, alignment: int) -> None:
    watch = watch_of(tmp_path, build_bzimage(kernel_alignment=alignment))
    assert watch.alignment == ALIGNMENT
    assert len(list(watch.watchpoints(memory(), (16 * MIB,)))) < 200


def test_a_larger_alignment_is_kept(tmp_path: Path) -> None:
    watch = watch_of(tmp_path, build_bzimage(kernel_alignment=16 * MIB))
    places = {point.address for point in watch.watchpoints(memory(), (0,)) if point.label == KERNEL_PROPER}
    assert places == {0, 16 * MIB, 32 * MIB, 48 * MIB}


# ---------------------------------------------------------------- relocated code


def relocated(fields: dict[int, int], slide: int, sign: int = 1, size: int = 8) -> tuple[bytes, bytes]:
    """Return code with `fields` (offset: value), as linked and as relocated by `slide`."""
    linked, found = bytearray(CODE), bytearray(CODE)
    for at, value in fields.items():
        linked[at : at + size] = (value % (1 << 8 * size)).to_bytes(size, "little")
        found[at : at + size] = ((value + sign * slide) % (1 << 8 * size)).to_bytes(size, "little")
    return bytes(linked), bytes(found)


TEXT = 0xFFFF_FFFF_8100_0000
PER_CPU = 0x1_2000 - TEXT  # the distance from the text to something per CPU


@pytest.mark.parametrize("slide", [ALIGNMENT, 14 * MIB, 16 * MIB, 512 * MIB, GIB - 16 * MIB - ALIGNMENT])
@pytest.mark.parametrize("at", [0, 1, 7, 20, 40])
@pytest.mark.parametrize(("value", "size", "sign"), [(TEXT + 0x1234, 8, 1), (TEXT, 4, 1), (PER_CPU, 4, -1)])
def test_a_relocated_field_is_recognised(slide: int, at: int, value: int, size: int, sign: int) -> None:
    linked, found = relocated({at: value}, slide, sign, size)
    assert virtual_slide(linked, found, ALIGNMENT) == slide


@pytest.mark.parametrize("slide", range(ALIGNMENT, 1008 * MIB, 34 * MIB))
def test_debian_s_6_1_kernel_is_recognised_wherever_kaslr_puts_it(slide: int) -> None:
    code = bytes.fromhex(  # startup_64 of 6.1.0-56-cloud-amd64
        "488d25513fa001488d3df2ffffffb9010100c0488b05fe9cbf0148c7c2000000814829d04801f84889c248c1ea200f30"
    )
    found = code.replace(b"\x00\x00\x00\x81", (0x8100_0000 + slide).to_bytes(4, "little"))
    assert virtual_slide(code, found, ALIGNMENT) == slide


def test_equal_code_was_not_moved() -> None:
    assert virtual_slide(CODE, CODE, ALIGNMENT) == 0


def test_several_fields_have_to_agree() -> None:
    fields = {3: TEXT, 15: TEXT + 0x5678, 30: TEXT + 0x20_0000}
    linked, found = relocated(fields, 14 * MIB)
    assert virtual_slide(linked, found, ALIGNMENT) == 14 * MIB
    other = bytearray(found)
    other[15:23] = (TEXT + 0x5678 + 16 * MIB).to_bytes(8, "little")
    assert virtual_slide(linked, bytes(other), ALIGNMENT) is None


@pytest.mark.parametrize("slide", [-ALIGNMENT, 1, 0x1000, MIB, ALIGNMENT + 1, GIB, 2 * GIB])
def test_a_slide_that_kaslr_does_not_make_is_other_code(slide: int) -> None:
    assert virtual_slide(*relocated({8: TEXT}, slide), ALIGNMENT) is None


@pytest.mark.parametrize("at", range(46))
@pytest.mark.parametrize("bit", [0, 5, 7])
def test_a_changed_instruction_is_other_code(at: int, bit: int) -> None:
    found = bytearray(CODE)
    found[at] ^= 1 << bit
    assert virtual_slide(CODE, bytes(found), ALIGNMENT) is None


def test_a_field_that_is_cut_off_tells_nothing() -> None:
    linked, found = relocated({8: TEXT, 44: TEXT + 0x3000}, 14 * MIB, size=4)
    assert virtual_slide(linked[:47], found[:47], ALIGNMENT) == 14 * MIB


def test_code_of_another_length_is_other_code() -> None:
    assert virtual_slide(CODE, CODE[:-1], ALIGNMENT) is None


@given(st.binary(min_size=48, max_size=48), st.binary(min_size=48, max_size=48))
def test_any_two_pieces_of_code_are_compared_in_reasonable_time(linked: bytes, found: bytes) -> None:
    slide = virtual_slide(linked, found, ALIGNMENT)
    assert slide is None or slide % ALIGNMENT == 0


def test_the_worst_code_is_compared_in_reasonable_time() -> None:
    linked, found = bytes(48), bytes.fromhex("000020") * 16
    virtual_slide(linked, found, ALIGNMENT)
    virtual_slide(bytes(480), found * 10, ALIGNMENT)


# ---------------------------------------------------------------- what the kernel is given

PARAMS, TEXT_AT, INITRD = 0x9_0000, 0x9_8000, 0x100_0000
DESCRIPTOR = MemoryDescriptor(MemoryType.CONVENTIONAL, 0, 0, 0, 1, 15)
TABLE = ConfigurationTable(Guid(bytes(16)), 0x1000)


class Given:
    """A kernel at its first instruction, and what lies in memory for it."""

    def __init__(self, tmp_path: Path, place: int = PHYSICAL) -> None:
        self.watch = replace(watch_of(tmp_path, build_bzimage()), code=CODE)
        self.memory = memory()
        self.memory.write(place, CODE)
        self.registers = {"rip": place, "rsi": PARAMS}

    def params(self, **fields: Any) -> None:
        """Write a boot_params; fields of its setup header begin with hdr_."""
        empty = BootParams.unpack(bytes(BootParams.SIZE))
        header = {
            name.removeprefix("hdr_"): value for name, value in fields.items() if name.startswith("hdr_")
        }
        own = {name: value for name, value in fields.items() if not name.startswith("hdr_")}
        made = replace(empty, hdr=replace(empty.hdr, **header), **own)
        self.memory.write(PARAMS, made.pack())

    def collect(self) -> Handoff:
        return collect(
            self.memory,
            self.registers,
            self.watch,
            decompressor="bypassed",
            direct_entry=None,
            memory_map=(DESCRIPTOR,),
            configuration_tables=(TABLE,),
        )


@pytest.fixture
def kernel(tmp_path: Path) -> Given:
    return Given(tmp_path)


def test_everything_is_collected(kernel: Given) -> None:
    initrd = bytes(range(256)) * 10
    kernel.params(hdr_cmd_line_ptr=TEXT_AT, hdr_ramdisk_image=INITRD, hdr_ramdisk_size=len(initrd))
    kernel.memory.write(TEXT_AT, b"quiet root=/dev/vda\0")
    kernel.memory.write(INITRD, initrd)
    handoff = kernel.collect()
    assert handoff.command_line == "quiet root=/dev/vda"
    assert (handoff.initrd_address, handoff.initrd_size) == (INITRD, len(initrd))
    assert handoff.initrd_sha256 == hashlib.sha256(initrd).hexdigest()
    assert (handoff.boot_params_address, handoff.boot_params) == (PARAMS, kernel.memory.read(PARAMS, 4096))
    assert (handoff.memory_map, handoff.configuration_tables) == ((DESCRIPTOR,), (TABLE,))
    assert (handoff.decompressor, handoff.kernel_start) == ("bypassed", "startup_64")
    proof = handoff.proof
    assert (proof.expected, proof.found, proof.slide, proof.virtual_slide) == (CODE, CODE, 0, None)


def test_a_moved_kernel_s_slides_are_told(tmp_path: Path) -> None:
    kernel = Given(tmp_path, PHYSICAL + 4 * MIB)
    linked, found = relocated({10: TEXT}, 6 * MIB)
    kernel.watch = replace(kernel.watch, code=linked)
    kernel.memory.write(PHYSICAL + 4 * MIB, found)
    proof = kernel.collect().proof
    assert (proof.slide, proof.virtual_slide) == (4 * MIB, 6 * MIB)


def test_a_kernel_that_is_given_nothing_has_nothing(kernel: Given) -> None:
    handoff = kernel.collect()
    assert handoff.command_line == ""
    assert (handoff.initrd_address, handoff.initrd_size, handoff.initrd_sha256) == (0, 0, "")


def test_a_command_line_that_is_no_utf_8_is_shown_as_far_as_possible(kernel: Given) -> None:
    kernel.params(hdr_cmd_line_ptr=TEXT_AT)
    kernel.memory.write(TEXT_AT, b"a\xffb\0")
    assert kernel.collect().command_line == "a\ufffdb"


WRONG: dict[str, dict[str, int]] = {
    "a command line that is no memory": {"hdr_cmd_line_ptr": 0xF000_0000},
    "a command line above 4 GiB that is no memory": {"hdr_cmd_line_ptr": 1, "ext_cmd_line_ptr": 7},
    "a command line just after memory": {"hdr_cmd_line_ptr": 64 * MIB},
    "an initrd that is no memory": {"hdr_ramdisk_image": 0xF000_0000, "hdr_ramdisk_size": 1},
    "an initrd that passes the end": {"hdr_ramdisk_image": INITRD, "hdr_ramdisk_size": 64 * MIB},
    "a setup_data list that is no memory": {"hdr_setup_data": 1 << 40},
    "an initrd of any size": {"hdr_ramdisk_image": INITRD, "hdr_ramdisk_size": 1, "ext_ramdisk_size": 9},
}


def efi_info(**fields: int) -> EfiInfo:
    return EfiInfo(efi_loader_signature=b"EL64", **dict.fromkeys(EFI_FIELDS, 0) | fields)


def test_setup_data_and_a_map_with_virtual_addresses_are_collected(kernel: Given) -> None:
    runtime = replace(DESCRIPTOR, virtual_start=0xFFFF_FFFF_0000_0000)
    second = SetupData(next=0, type=SetupDataType.EFI, len=96)
    first = SetupData(next=INITRD, type=SetupDataType.RNG_SEED, len=4)
    kernel.memory.write(TEXT_AT, first.pack() + b"seed")
    kernel.memory.write(INITRD, second.pack() + bytes(range(96)))
    kernel.memory.write(INITRD + 4096, DESCRIPTOR.pack() + bytes(8) + runtime.pack() + bytes(8))
    info = efi_info(efi_memmap=INITRD + 4096, efi_memmap_size=96, efi_memdesc_size=48)
    kernel.params(hdr_setup_data=TEXT_AT, efi_info=info)
    handoff = kernel.collect()
    assert handoff.setup_data == (
        SetupDataNode(TEXT_AT, SetupDataType.RNG_SEED, 4, b"seed"),
        SetupDataNode(INITRD, SetupDataType.EFI, 96, bytes(range(96))),
    )
    assert handoff.runtime_map == (DESCRIPTOR, runtime)
    kernel.memory.write(INITRD + 4096, (DESCRIPTOR.pack() + bytes(8)) * 2)
    assert kernel.collect().runtime_map == ()


def test_a_setup_data_list_without_an_end_is_a_fault(kernel: Given) -> None:
    kernel.memory.write(TEXT_AT, SetupData(next=TEXT_AT, type=SetupDataType.PCI, len=0).pack())
    kernel.params(hdr_setup_data=TEXT_AT)
    with pytest.raises(GuestFault, match="the setup_data list has more than 256 nodes"):
        kernel.collect()


@pytest.mark.parametrize(
    "info",
    [
        {"efi_memmap": INITRD, "efi_memmap_size": 48 << 20, "efi_memdesc_size": 48},
        {"efi_memmap": 64 * MIB, "efi_memmap_size": 48, "efi_memdesc_size": 48},
        {"efi_memmap": INITRD, "efi_memmap_hi": 9, "efi_memmap_size": 48, "efi_memdesc_size": 48},
    ],
    ids=str,
)
def test_an_efi_memory_map_that_is_none_is_a_fault(kernel: Given, info: dict[str, int]) -> None:
    kernel.params(efi_info=efi_info(**info))
    with pytest.raises(GuestFault):
        kernel.collect()


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_memory_is_a_fault(kernel: Given, name: str) -> None:
    kernel.params(**WRONG[name])
    with pytest.raises(GuestFault):
        kernel.collect()


@pytest.mark.parametrize("address", [64 * MIB, 64 * MIB - 4095, 1 << 63, (1 << 64) - 1])
def test_boot_params_that_are_no_memory_are_a_fault(kernel: Given, address: int) -> None:
    kernel.registers["rsi"] = address
    with pytest.raises(GuestFault, match="at guest physical"):
        kernel.collect()


def test_a_command_line_without_an_end_is_a_fault(kernel: Given) -> None:
    kernel.params(hdr_cmd_line_ptr=TEXT_AT)
    kernel.memory.fill(TEXT_AT, 1 << 17, 0x41)
    with pytest.raises(GuestFault, match=f"the command line at {TEXT_AT:#x} has no end"):
        kernel.collect()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Given:
    return Given(tmp_path_factory.mktemp("kernel"))


@given(data=st.binary(max_size=64), at=st.integers(0, 4032))
def test_no_boot_params_get_past(shared: Given, data: bytes, at: int) -> None:
    shared.memory.fill(PARAMS, 4096)
    shared.memory.write(PARAMS + at, data)
    with contextlib.suppress(GuestFault):
        assert len(shared.collect().boot_params) == 4096
