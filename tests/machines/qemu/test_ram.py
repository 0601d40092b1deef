# SPDX-License-Identifier: GPL-2.0-or-later
"""The file behind a guest's RAM tells what was never touched, and takes much at once."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator

import pytest

from pvefi.errors import GuestFault
from pvefi.machines.qemu.ram import RamFile
from pvefi.memory import GuestMemory, RamBlock

MIB = 1 << 20
SIZE = 8 * MIB


@pytest.fixture
def descriptor() -> Iterator[int]:
    made = os.memfd_create("ram", os.MFD_CLOEXEC)
    os.ftruncate(made, SIZE)
    yield made
    os.close(made)


def touched(descriptor: int) -> int:
    return os.fstat(descriptor).st_blocks * 512


def test_only_what_was_touched_is_written(descriptor: int) -> None:
    os.pwrite(descriptor, b"x", 3 * MIB)
    os.pwrite(descriptor, b"x", 5 * MIB)
    file = RamFile(descriptor)
    assert list(file.written(0, SIZE)) == [(3 * MIB, mmap.PAGESIZE), (5 * MIB, mmap.PAGESIZE)]
    assert list(file.written(4 * MIB, MIB)) == []
    assert list(file.written(3 * MIB + 8, 16)) == [(3 * MIB + 8, 16)]
    assert list(RamFile(descriptor, MIB).written(0, 3 * MIB)) == [(2 * MIB, mmap.PAGESIZE)]


def test_filling_with_zeroes_takes_no_memory_and_leaves_none_of_the_old(descriptor: int) -> None:
    os.pwrite(descriptor, b"old", 3 * MIB)
    view = memoryview(mmap.mmap(descriptor, SIZE))
    memory = GuestMemory([RamBlock(0, view, RamFile(descriptor))])
    memory.fill(MIB, 4 * MIB)
    assert touched(descriptor) == mmap.PAGESIZE
    assert memory.read(3 * MIB, 3) == bytes(3)
    memory.fill(MIB, MIB, 0x55)
    assert memory.read(2 * MIB - 1, 2) == b"\x55\0"


def test_what_is_stored_at_once_is_in_the_mapping(descriptor: int) -> None:
    view = memoryview(mmap.mmap(descriptor, SIZE))
    blocks = [
        RamBlock(0, view[: 4 * MIB], RamFile(descriptor)),
        RamBlock(16 * MIB, view[4 * MIB :], RamFile(descriptor, 4 * MIB)),
    ]
    memory = GuestMemory(blocks)
    data = os.urandom(MIB)
    memory.write(17 * MIB + 3, data)
    assert memory.read(17 * MIB + 3, MIB) == data
    assert view[5 * MIB + 3 : 6 * MIB + 3] == data
    assert not any(view[: 5 * MIB + 3])


def test_much_at_once_beyond_the_end_is_refused_and_nothing_is_stored(descriptor: int) -> None:
    view = memoryview(mmap.mmap(descriptor, SIZE))
    memory = GuestMemory([RamBlock(0, view, RamFile(descriptor))])
    with pytest.raises(GuestFault):
        memory.write(SIZE - MIB + 1, bytes(MIB))
    assert touched(descriptor) == 0
