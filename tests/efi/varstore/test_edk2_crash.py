# SPDX-License-Identifier: GPL-2.0-or-later
"""A store in edk2's format after a crash: the old value or the new one, wherever the crash was."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from pvefi.efi.varstore.edk2 import Edk2Store
from pvefi.efi.varstore.store import name_size
from pvefi.spec.edk2.fault_tolerant_write import (
    FaultTolerantWorkingBlockHeader,
    FaultTolerantWriteHeader,
    FaultTolerantWriteRecord,
)
from pvefi.spec.edk2.variable_store import (
    ERASED,
    HEADER_VALID_ONLY,
    VARIABLE_DATA,
    AuthenticatedVariableHeader,
)
from tests.efi.varstore.flash import (
    SMALL,
    VENDOR,
    Contents,
    Flash,
    cuts,
    headers_within_headers,
    held,
    lookalikes,
    losses,
    opened,
    store_on,
    variable,
)
from tests.efi.varstore.kills import CROWDED, ROOMY, Writing, kill_writers

_ONE_WRITE = FaultTolerantWriteHeader.SIZE + FaultTolerantWriteRecord.SIZE

Change = Callable[[Edk2Store], None]


def put(name: str, data: bytes) -> Change:
    return lambda store: store.put(variable(name, data))


def remove(name: str) -> Change:
    return lambda store: store.remove(name, VENDOR)


def with_two() -> Flash:
    flash = Flash()
    store = store_on(flash)
    for name, data in (("A", b"first"), ("Bee", b"second")):
        store.put(variable(name, data))
    return flash


def nearly_full() -> Flash:
    """A store in which nothing more fits unless what was deleted is cleared away."""
    flash = with_two()
    store = store_on(flash)
    for number in range(6):
        store.put(variable("A", bytes([number]) * 60))
    store.put(variable("Filler", b"f" * 100))
    return flash


def full_queue() -> Flash:
    """A store whose working block has room for no more writes."""
    flash = nearly_full()
    store = store_on(flash)
    number = 0
    second = SMALL.working_offset + FaultTolerantWorkingBlockHeader.SIZE + _ONE_WRITE
    while flash.contents[second] == ERASED:
        store.put(variable("A", bytes([number]) * 61))
        number += 1
    while not clears_away(flash, put("New", b"new" * 20)):
        store.put(variable("A", bytes([number]) * 61))
        number += 1
    return flash


def test_a_full_queue_is_what_it_is_called() -> None:
    _, steps, _, _ = crashing("a new variable in a full store with a full queue")
    assert any(step is not None and step[0] == SMALL.working_offset for step in steps)


def clears_away(flash: Flash, change: Change) -> bool:
    """Whether `change` moves the whole store."""
    copy = Flash(bytearray(flash.contents))
    change(store_on(copy))
    return any(step is not None and step[0] >= SMALL.spare_offset for step in copy.steps)


SITUATIONS: dict[str, tuple[Callable[[], Flash], Change]] = {
    "a new variable": (with_two, put("New", b"new")),
    "a new variable full of variables": (with_two, put("\u55aa?", lookalikes())),
    **{
        f"a new variable with a header in its own, {one.name}": (
            with_two,
            partial(Edk2Store.put, variable=one),
        )
        for one in headers_within_headers()
    },
    "a changed variable": (with_two, put("A", b"changed")),
    "a removed variable": (with_two, remove("A")),
    "a new variable in a full store": (nearly_full, put("New", b"new" * 40)),
    "a changed variable in a full store": (nearly_full, put("Bee", b"changed" * 20)),
    "a new variable in a full store with a full queue": (full_queue, put("New", b"new" * 20)),
}


def crashing(situation: str) -> tuple[bytes, list[tuple[int, bytes] | None], Contents, Contents]:
    """Return the bytes before, the steps of the change, and what is held before and after."""
    make, change = SITUATIONS[situation]
    flash = make()
    before, store = bytes(flash.contents), store_on(flash)
    old = held(store)
    flash.steps.clear()
    change(store)
    assert old != held(store)
    assert held(opened(flash.contents)) == held(store)
    return before, flash.steps, old, held(store)


@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_write_cut_short_at_any_byte_leaves_the_old_value_or_the_new_one(situation: str) -> None:
    before, steps, old, new = crashing(situation)
    turned = False
    for left in cuts(before, steps):
        found = held(opened(left))
        assert found in (old, new)
        assert found == new or not turned, "what was there once is there no more"
        turned = found == new
    assert turned


@pytest.mark.parametrize("situation", SITUATIONS)
def test_after_any_crash_the_store_can_be_written_again(situation: str) -> None:
    before, steps, _, _ = crashing(situation)
    for count, left in enumerate(cuts(before, steps)):
        if count % 7 and count > 60:
            continue
        flash = Flash(left)
        store = store_on(flash)
        expected = held(store)
        for data in (b"x", b"y" * 30):
            store.put(variable("A", data))
            expected["A"] = data
            assert held(store) == expected
            assert held(opened(flash.contents)) == expected


@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_crash_while_a_crash_is_recovered_from_does_no_more_harm(situation: str) -> None:
    before, steps, _, _ = crashing(situation)
    for count, left in enumerate(cuts(before, steps)):
        if count % 11:
            continue
        flash = Flash(bytearray(left))
        expected = held(store_on(flash))
        for again, second in enumerate(cuts(bytes(left), flash.steps)):
            if again % 13 == 0:
                assert held(opened(second)) == expected


def test_what_is_removed_after_a_crash_does_not_come_back() -> None:
    """The value before it may still be there, and counts as long as there is no other."""
    before, steps, _, _ = crashing("a changed variable")
    for left in cuts(before, steps):
        flash = Flash(bytearray(left))
        store_on(flash).remove("A", VENDOR)
        assert set(held(opened(flash.contents))) == {"Bee"}


def test_what_a_crash_left_behind_the_last_variable_is_never_taken_for_one() -> None:
    flash = with_two()
    end = len(flash.contents[: SMALL.store_size].rstrip(b"\xff"))
    end += -end % 4
    size = AuthenticatedVariableHeader.SIZE + name_size("New") + len(b"data")
    header = AuthenticatedVariableHeader(
        VARIABLE_DATA, HEADER_VALID_ONLY, 0, 7, 0, bytes(16), 0, 0x7E7E, 0x7E7E, VENDOR.wire
    )
    garbage = header.pack()
    flash.contents[end + size : end + size + len(garbage)] = garbage
    expected = held(store_on(flash))
    store_on(flash).put(variable("New"))
    assert held(opened(flash.contents)) == {**expected, "New": b"data"}


@pytest.mark.parametrize("sector", [64, 256])
@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_loss_of_power_in_which_writes_land_in_any_order_does_no_harm(situation: str, sector: int) -> None:
    before, steps, old, new = crashing(situation)
    for seed in range(300):
        flash = Flash(losses(before, steps, sector=sector, seed=seed))
        store = store_on(flash)
        expected = held(store)
        assert expected in (old, new)
        store.put(variable("Later", b"later"))
        assert held(opened(flash.contents)) == {**expected, "Later": b"later"}


def test_what_is_answered_lasts_without_the_steps_that_come_after() -> None:
    """All before the last sync is enough: what follows only tidies up."""
    for situation in SITUATIONS:
        before, steps, _, new = crashing(situation)
        last = max(at for at, step in enumerate(steps) if step is None)
        now = bytearray(before)
        for step in steps[:last]:
            if step is not None:
                now[step[0] : step[0] + len(step[1])] = step[1]
        assert held(opened(now)) == new


def test_reading_only_shows_what_recovery_would_and_writes_nothing() -> None:
    before, steps, old, new = crashing("a new variable in a full store")
    for left in cuts(before, steps):
        flash = Flash(bytearray(left), writable=False)
        assert held(store_on(flash)) in (old, new)
        assert flash.contents == left
        assert not flash.steps


@pytest.mark.parametrize(
    ("rounds", "writing"),
    [
        pytest.param(150, ROOMY, id="some"),
        pytest.param(80, CROWDED, id="some while all is cleared away"),
        pytest.param(10_000, ROOMY, id="many", marks=pytest.mark.full),
        pytest.param(3000, CROWDED, id="many while all is cleared away", marks=pytest.mark.full),
    ],
)
def test_a_killed_writer_loses_nothing_that_it_told_to_be_written(
    tmp_path: Path, rounds: int, writing: Writing
) -> None:
    found = kill_writers(tmp_path / "vars.fd", writing, rounds)
    assert (found.lost, found.corrupt) == (0, 0)
    assert found.amid
