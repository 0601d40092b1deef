# SPDX-License-Identifier: GPL-2.0-or-later
"""What a service stores after boot services is held back, read as if it stood there, and cut to fit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvefi.efi.staging import StagedMemory, batches
from pvefi.errors import GuestFault
from pvefi.guest.mailbox import STAGING_SIZE, Store, staged_size
from pvefi.memory import GuestMemory, RamBlock

BASE, SIZE = 0x1000, 0x100


def memory() -> GuestMemory:
    return GuestMemory([RamBlock(BASE, memoryview(bytearray(range(SIZE))))])


def test_nothing_reaches_memory_before_the_guest_stores_it() -> None:
    below = memory()
    staged = StagedMemory(below)
    staged.write(BASE, b"new")
    assert below.read(BASE, 3) == bytes(range(3))
    assert staged.take() == (Store(BASE, b"new"),)
    assert staged.take() == ()
    assert staged.read(BASE, 3) == bytes(range(3))


@given(
    st.lists(st.tuples(st.integers(0, SIZE - 1), st.binary(max_size=20)), max_size=8),
    st.integers(0, SIZE - 1),
    st.integers(0, 40),
)
def test_reading_shows_memory_as_it_will_be(stores: list[tuple[int, bytes]], start: int, size: int) -> None:
    staged, model = StagedMemory(memory()), bytearray(range(SIZE))
    for at, whole in stores:
        data = whole[: SIZE - at]
        staged.write(BASE + at, data)
        model[at : at + len(data)] = data
    size = min(size, SIZE - start)
    assert staged.read(BASE + start, size) == model[start : start + size]


@pytest.mark.parametrize(
    ("address", "size"), [(BASE - 1, 2), (BASE + SIZE - 1, 2), (BASE + SIZE, 1), (1 << 63, 8)]
)
def test_what_is_no_memory_is_refused_at_once(address: int, size: int) -> None:
    staged = StagedMemory(memory())
    with pytest.raises(GuestFault):
        staged.write(address, bytes(size))
    with pytest.raises(GuestFault):
        staged.storable(address, size)
    with pytest.raises(GuestFault):
        staged.read(address, size)
    assert staged.take() == ()


def test_an_empty_store_is_none() -> None:
    staged = StagedMemory(memory())
    staged.write(BASE, b"")
    assert staged.take() == ()


def test_what_is_written_later_does_not_change_with_the_writers_buffer() -> None:
    staged, data = StagedMemory(memory()), bytearray(b"abc")
    staged.write(BASE, data)
    data[:] = b"xyz"
    assert staged.take() == (Store(BASE, b"abc"),)


@given(st.lists(st.tuples(st.integers(0, 1 << 40), st.integers(1, 3 * STAGING_SIZE)), max_size=6))
def test_every_batch_fits_and_all_of_them_are_everything_in_order(sizes: list[tuple[int, int]]) -> None:
    stores = [Store(target, bytes([number]) * size) for number, (target, size) in enumerate(sizes)]
    groups = batches(stores)
    assert all(sum(map(staged_size, group)) <= STAGING_SIZE for group in groups)
    assert all(group for group in groups)
    pieces = [piece for group in groups for piece in group]
    whole = [(store.target + at, store.data[at]) for store in stores for at in (0, len(store.data) - 1)]
    ends = {(piece.target + at, piece.data[at]) for piece in pieces for at in (0, len(piece.data) - 1)}
    assert set(whole) <= ends
    assert sum(len(piece.data) for piece in pieces) == sum(len(store.data) for store in stores)


def test_small_stores_share_a_batch_and_the_largest_fills_one() -> None:
    assert len(batches([Store(1, b"a"), Store(2, b"b")])) == 1
    largest = STAGING_SIZE - staged_size(Store(0, b""))
    assert len(batches([Store(0, bytes(largest))])) == 1
    assert [len(piece.data) for group in batches([Store(0, bytes(largest + 1))]) for piece in group] == [
        largest,
        1,
    ]
