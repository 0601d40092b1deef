# SPDX-License-Identifier: GPL-2.0-or-later
"""Arenas: memory handed out once, named, aligned and never beyond the end."""

from __future__ import annotations

import pytest

from pvefi.efi.arena import Arena
from pvefi.errors import GuestFault
from pvefi.memory import GuestMemory, NamedRange, RamBlock


@pytest.fixture
def memory() -> GuestMemory:
    return GuestMemory([RamBlock(0, memoryview(bytearray(b"\xaa" * 0x1000)))])


def test_what_is_placed_stands_there_under_its_name(memory: GuestMemory) -> None:
    arena = Arena(memory, 0x100, 0x200)
    assert arena.place("one", b"first") == 0x100
    assert arena.place("two", b"second") == 0x110
    assert arena.ranges == (NamedRange("one", 0x100, 5), NamedRange("two", 0x110, 6))
    assert memory.read(0x100, 5) == b"first"
    assert memory.read(0x110, 6) == b"second"


@pytest.mark.parametrize("alignment", [1, 8, 16, 64])
def test_alignment_is_kept(memory: GuestMemory, alignment: int) -> None:
    arena = Arena(memory, 0x101, 0x200)
    address = arena.reserve("aligned", 4, alignment=alignment)
    assert address == -(-0x101 // alignment) * alignment


def test_reserved_memory_is_zero(memory: GuestMemory) -> None:
    Arena(memory, 0x100, 0x200).reserve("zeroes", 0x20)
    assert memory.read(0x100, 0x20) == bytes(0x20)
    assert memory.read(0xFF, 1) == memory.read(0x120, 1) == b"\xaa"


def test_an_arena_can_be_filled_to_its_last_byte(memory: GuestMemory) -> None:
    arena = Arena(memory, 0x100, 0x120)
    arena.place("all", bytes(0x20))
    assert arena.place("nothing", b"") == 0x120


@pytest.mark.parametrize("size", [0x21, 1 << 40])
def test_a_full_arena_says_what_had_no_room(memory: GuestMemory, size: int) -> None:
    arena = Arena(memory, 0x100, 0x120)
    with pytest.raises(GuestFault, match=f"no {size:#x} bytes left for LoadOptions .* ends at 0x120"):
        arena.reserve("LoadOptions", size)
    assert arena.ranges == ()
    assert memory.read(0x100, 0x20) == b"\xaa" * 0x20
    assert arena.reserve("smaller", 0x20) == 0x100
