# SPDX-License-Identifier: GPL-2.0-or-later
"""hvm_start_info and what hangs on it, read from a guest that may tell anything."""

from __future__ import annotations

import contextlib
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvefi.efi.service import Steps
from pvefi.efi.start import Start, fetch_by_guest, read_start
from pvefi.errors import GuestFault
from pvefi.guest import load_trampoline
from pvefi.guest.mailbox import Copy
from pvefi.memory import GuestMemory, RamBlock
from pvefi.spec.xen.start_info import (
    XEN_HVM_START_MAGIC_VALUE,
    HvmMemmapTableEntry,
    HvmModlistEntry,
    HvmStartInfo,
    HvmStartInfoV0,
    MemmapType,
)

SIZE = 0x4_0000
INFO, MEMMAP, MODULES, TEXT = 0x1000, 0x2000, 0x3000, 0x4000
ENTRY = HvmMemmapTableEntry(0, SIZE, MemmapType.RAM)
MODULE = HvmModlistEntry(0x8000, 0x1234, TEXT)


class Told:
    """A guest's memory with a sound hvm_start_info, but for the fields given."""

    def __init__(self, base: int = 0, **fields: int) -> None:
        self.memory = GuestMemory([RamBlock(base, memoryview(bytearray(SIZE)))])
        self.base = base
        sound = {
            "magic": XEN_HVM_START_MAGIC_VALUE,
            "version": 1,
            "flags": 0,
            "nr_modules": 1,
            "modlist_paddr": base + MODULES,
            "cmdline_paddr": base + TEXT,
            "rsdp_paddr": 0,
            "memmap_paddr": base + MEMMAP,
            "memmap_entries": 2,
        }
        self.memory.write(base + INFO, HvmStartInfo(**(sound | fields)).pack())
        self.memory.write(base + MEMMAP, ENTRY.pack() + HvmMemmapTableEntry(1, 2, MemmapType(99)).pack())
        self.memory.write(base + MODULES, MODULE.pack())
        self.memory.write(base + TEXT, b"console=hvc0 quiet\0")

    def read(self, address: int = INFO) -> Start:
        def fetch(at: int, size: int) -> Steps[bytes]:
            yield from ()
            return self.memory.read(at, min(size, self.memory.contiguous(at)) or size)

        steps = read_start(fetch, self.base + address)
        try:
            next(steps)
        except StopIteration as end:
            return cast(Start, end.value)
        raise AssertionError("nothing was asked of the guest")


def refused(told: Told, text: str, address: int = INFO) -> None:
    with pytest.raises(GuestFault, match=text):
        told.read(address)


def test_everything_is_copied_out() -> None:
    told = Told()
    start = told.read()
    told.memory.fill(0, SIZE, 0xFF)
    assert start.memory_map == (ENTRY, HvmMemmapTableEntry(1, 2, MemmapType(99)))
    assert start.modules == (MODULE,)
    assert start.command_line == "console=hvc0 quiet"
    assert start.info.version == 1


def test_without_command_line_and_modules_both_are_empty() -> None:
    start = Told(cmdline_paddr=0, nr_modules=0, modlist_paddr=0).read()
    assert (start.command_line, start.modules) == ("", ())


def test_a_list_of_no_modules_may_stand_anywhere() -> None:
    assert Told(base=0x100000, nr_modules=0, modlist_paddr=0).read().modules == ()
    assert Told(nr_modules=0, modlist_paddr=1 << 60).read().modules == ()


def test_later_versions_are_read_as_version_1() -> None:
    assert Told(version=7).read().info.version == 7


@pytest.mark.parametrize("address", [SIZE, 1 << 63, (1 << 64) - 1])
def test_an_address_that_is_no_memory_is_refused(address: int) -> None:
    refused(Told(), "not all RAM", address)


@pytest.mark.parametrize("there", [1, HvmStartInfoV0.SIZE - 1, HvmStartInfoV0.SIZE, HvmStartInfo.SIZE - 1])
def test_a_structure_that_memory_cuts_off_is_refused(there: int) -> None:
    told = Told()
    told.memory.write(SIZE - there, told.memory.read(INFO, there))
    refused(told, f"takes [0-9]+ bytes, {there} are there", SIZE - there)


def test_something_else_is_refused_with_its_place() -> None:
    refused(Told(magic=0x12345678), "guest physical 0x1000: hvm_start_info begins with 0x12345678")


def test_version_0_lacks_what_is_needed() -> None:
    refused(Told(version=0), "version 0 at 0x1000 has no memory map .*version 1")


def test_a_missing_memory_map_is_refused() -> None:
    refused(Told(memmap_entries=0), "has no memory map")


@pytest.mark.parametrize("field", ["memmap_entries", "nr_modules"])
def test_absurd_counts_are_refused(field: str) -> None:
    refused(Told(**{field: 0xFFFF_FFFF}), "claims .*4294967295")


@pytest.mark.parametrize("field", ["memmap_paddr", "modlist_paddr", "cmdline_paddr"])
@pytest.mark.parametrize("address", [SIZE, SIZE - 1, 1 << 62])
def test_pointers_to_no_memory_are_refused(field: str, address: int) -> None:
    told = Told(**{field: address})
    told.memory.write(SIZE - 1, b"x")
    refused(told, "not all RAM|does not end|takes [0-9]+ bytes, 1 are there")


def test_a_command_line_without_an_end_is_refused() -> None:
    told = Told()
    told.memory.fill(TEXT, SIZE - TEXT, 0x41)
    refused(told, r"the command line at 0x4000 does not end within")


def test_a_command_line_may_end_with_memory() -> None:
    told = Told(cmdline_paddr=SIZE - 3)
    told.memory.write(SIZE - 3, b"ab\0")
    assert told.read().command_line == "ab"


def test_a_command_line_that_is_no_utf_8_is_shown_as_far_as_possible() -> None:
    told = Told()
    told.memory.write(TEXT, b"a\xffb\0")
    assert told.read().command_line == "a\ufffdb"


@given(st.binary(min_size=56, max_size=56), st.booleans())
def test_no_garbage_gets_past(data: bytes, with_magic: bool) -> None:
    told = Told()
    told.memory.write(INFO, data)
    if with_magic:
        told.memory.write(INFO, XEN_HVM_START_MAGIC_VALUE.to_bytes(4, "little"))
    with contextlib.suppress(GuestFault):
        assert told.read().memory_map


def test_page_0_which_the_guest_does_not_map_is_read_by_the_host() -> None:
    trampoline = load_trampoline()
    staging = trampoline.symbols["staging"]
    memory = GuestMemory([RamBlock(0, memoryview(bytearray(staging + 0x6000)))])
    memory.write(0xFF8, b"in page 0, and on")
    steps = fetch_by_guest(memory, trampoline)(0xFF8, 17)
    asked = next(steps)
    assert asked == Copy(staging, 0x1000, 9)
    memory.write(staging, memory.read(asked.source, asked.size))
    with pytest.raises(StopIteration) as end:
        steps.send(0)
    assert end.value.value == b"in page 0, and on"
    with pytest.raises(StopIteration) as end:
        next(fetch_by_guest(memory, trampoline)(0xFF8, 4))
    assert end.value.value == b"in p"
