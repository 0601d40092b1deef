# SPDX-License-Identifier: GPL-2.0-or-later
"""A store in edk2's format when power goes in the midst of many changes, or the disk fails and goes on."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from pvefi.efi.varstore.edk2 import Edk2Store
from pvefi.efi.varstore.edk2_blocks import has_pending_write, write_store
from pvefi.efi.varstore.edk2_format import FIRST
from pvefi.efi.varstore.plan import Plan
from pvefi.efi.varstore.store import StoreError, Variable, name_size
from pvefi.spec.edk2.fault_tolerant_write import (
    SPARE_COMPLETE,
    WORKING_BLOCK_INVALID,
    FaultTolerantWorkingBlockHeader,
    FaultTolerantWriteHeader,
)
from pvefi.spec.edk2.variable_store import UNWRITTEN, VARIABLE_STORE
from tests.efi.varstore.flash import (
    SMALL,
    VENDOR,
    Contents,
    Flash,
    ForgetfulFlash,
    headers_within_headers,
    held,
    lookalikes,
    lost_after,
    opened,
    short_header_within_a_header,
    store_on,
    variable,
)

_USUAL = tuple(variable(name) for name in ("A", "Bee", "\u55aa?"))
_HOSTILE = headers_within_headers()
_LEFT_FREE = 400  # bytes, of which the largest change takes a half


def change(store: Edk2Store, dice: random.Random) -> None:
    """Put or remove one of few variables, so that each is changed often."""
    one = dice.choice(_USUAL + _HOSTILE)
    if store.capacity().remaining < _LEFT_FREE:
        one = dice.choice(list(store))
        store.remove(one.name, one.vendor)
    elif dice.random() < 0.3 and store.get(one.name, one.vendor) is not None:
        store.remove(one.name, one.vendor)
    else:
        data = dice.choice((one.data, b"1", lookalikes(), dice.randbytes(dice.randrange(1, 120))))
        store.put(replace(one, data=data))


@pytest.mark.parametrize(
    ("hostile", "authenticated"),
    [*((one, True) for one in _HOSTILE), (short_header_within_a_header(), False)],
)
def test_no_loss_of_power_brings_forth_a_header_that_stood_in_another(
    hostile: Variable, authenticated: bool
) -> None:
    """The end of a header may have been written, and its start not: they stand in two sectors."""
    sector, dice = 128, random.Random(0)
    for behind in range(4, 64, 4):  # bytes in the first sector
        flash = Flash()
        if not authenticated:
            flash.contents[0x48:0x58] = VARIABLE_STORE.wire
        store = store_on(flash)
        first = variable("P")
        filled = FIRST + store.capacity().overhead + name_size(first.name)
        store.put(replace(first, data=bytes(2 * sector - behind - filled)))
        before = bytes(flash.contents)
        flash.steps.clear()
        store.put(hostile)
        for _ in range(40):
            end = dice.randrange(len(flash.steps) + 1)
            left = opened(lost_after(before, flash.steps, end, sector=sector, dice=dice))
            assert set(held(left)) <= {first.name, hostile.name}
            left.put(variable("Later"))
            assert set(held(left)) <= {first.name, hostile.name, "Later"}


@pytest.mark.parametrize("seed", range(12))
def test_after_a_loss_of_power_there_is_what_was_answered_last_or_asked_for_next(
    seed: int,
) -> None:
    dice = random.Random(seed)
    flash = Flash()
    before, store = bytes(flash.contents), store_on(flash)
    answered: list[tuple[int, Contents]] = [(0, {})]
    for _ in range(30):
        change(store, dice)
        answered.append((len(flash.steps), held(store)))
    for _ in range(150):
        end = dice.randrange(len(flash.steps) + 1)
        left = lost_after(before, flash.steps, end, sector=dice.choice((4, 64, 256)), dice=dice)
        number = max(at for at, (steps, _) in enumerate(answered) if steps <= end)
        expected = [contents for _, contents in answered[number : number + 2]]
        recovered = Flash(left)
        found = held(store_on(recovered))
        assert found in expected
        store_on(recovered).put(variable("Later"))
        assert held(opened(recovered.contents)) == {**found, "Later": b"data"}


@pytest.mark.parametrize("fails", range(12))
def test_what_a_failed_sync_did_not_write_is_written_again_before_more_is(fails: int) -> None:
    """After a failed fsync(2), Linux shows from its cache what the disk does not have."""
    for seed in range(12):
        dice = random.Random(seed)
        flash = ForgetfulFlash()
        store = store_on(flash)
        for _ in range(10):
            change(store, dice)
        kept = held(store)
        flash.syncs_left, flash.failures = fails, 2
        allowed = [kept]
        refused = 0
        for number in range(12):
            wanted = {**kept, f"New{number % 2}": b"n" * number}
            allowed.append(wanted)
            try:
                store.put(variable(f"New{number % 2}", wanted[f"New{number % 2}"]))
            except StoreError:
                refused += 1
                assert held(opened(flash.disk)) in allowed
            else:
                kept = held(store)
                assert kept[f"New{number % 2}"] == b"n" * number
                allowed = [kept]
                assert held(opened(flash.disk)) == kept
        assert refused == 2
        assert held(opened(flash.disk)) == held(store)


def test_a_removal_that_came_further_than_was_told_is_done() -> None:
    flash = ForgetfulFlash()
    store = store_on(flash)
    store.put(variable("A"))
    flash.syncs_left, flash.failures = 0, 1
    with pytest.raises(StoreError):
        store.remove("A", VENDOR)
    store.remove("A", VENDOR)
    assert held(store) == held(opened(flash.disk)) == {}
    with pytest.raises(KeyError):
        store.remove("A", VENDOR)


def test_a_removal_that_failed_is_done_again() -> None:
    flash = ForgetfulFlash()
    store = store_on(flash)
    store.put(variable("A", b"1"))
    store.put(variable("A", b"2"))
    flash.syncs_left, flash.failures = 0, 1
    with pytest.raises(StoreError):
        store.remove("A", VENDOR)
    assert held(opened(flash.disk)) == {"A": b"2"}
    store.remove("A", VENDOR)
    assert held(opened(flash.disk)) == {}


def test_data_of_a_variable_that_never_got_its_state_is_not_taken_for_variables() -> None:
    """edk2 of today writes header and data at once, and then the state."""
    flash = Flash()
    store = store_on(flash)
    store.put(variable("A"))
    end = len(flash.contents[: SMALL.store_size].rstrip(b"\xff"))
    end += -end % 4
    store.put(variable("New", lookalikes()))
    flash.contents[end + 2] = UNWRITTEN
    torn = Flash(flash.contents)
    store = store_on(torn)
    assert held(store) == {"A": b"data"}
    store.put(variable("B"))
    assert held(opened(torn.contents)) == {"A": b"data", "B": b"data"}


def test_a_write_whose_contents_gave_way_to_the_working_block_is_called_off() -> None:
    """edk2 renews its working block through the spare area, and keeps the record of a write in it."""
    flash = Flash()
    store_on(flash).put(variable("A"))
    plan = Plan(bytearray(flash.contents))
    write_store(plan, SMALL, bytes(flash.contents[: SMALL.store_size]))
    done: list[tuple[int, bytes]] = []
    record = SMALL.working_offset + FaultTolerantWorkingBlockHeader.SIZE + FaultTolerantWriteHeader.SIZE
    for step in plan.steps:
        if step is not None:
            done.append(step)
        if step == (record, bytes((0xFF & ~SPARE_COMPLETE,))):
            break
    image = flash.contents
    for offset, data in done:
        image[offset : offset + len(data)] = data
    assert has_pending_write(image, SMALL)
    block = image[SMALL.working_offset : SMALL.working_offset + SMALL.working_size]
    image[SMALL.spare_offset : SMALL.spare_offset + len(block)] = block
    image[SMALL.working_offset + FaultTolerantWorkingBlockHeader.offset_of("state")] &= ~WORKING_BLOCK_INVALID
    store = store_on(flash)
    assert held(store) == {"A": b"data"}
    assert not has_pending_write(flash.contents, SMALL)


def test_a_device_that_held_a_larger_store_once_is_read_by_its_header() -> None:
    from pvefi.efi.varstore.edk2 import empty_store
    from pvefi.spec.edk2.ovmf import OVMF_2M, OVMF_4M

    contents = bytearray(empty_store(OVMF_4M)) + bytes(4096)
    small = empty_store(OVMF_2M)
    contents[: len(small)] = small
    flash = Flash(contents, fixed_size=False)
    store = Edk2Store(flash)
    store.put(variable("A"))
    assert held(Edk2Store(flash)) == {"A": b"data"}
    assert store.capacity().size == OVMF_2M.store_size - FIRST
    assert flash.contents[OVMF_2M.size :] == empty_store(OVMF_4M)[OVMF_2M.size :] + bytes(4096)
