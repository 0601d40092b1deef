# SPDX-License-Identifier: GPL-2.0-or-later
"""Stores with any bytes changed: each opens and can be used, or is refused; nothing else comes of them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pvefi.efi.varstore.edk2 import Edk2Store, empty_store
from pvefi.efi.varstore.edk2_format import FIRST
from pvefi.efi.varstore.store import StoreError, Variable, name_size
from pvefi.errors import ImageError
from pvefi.layout import Guid
from pvefi.spec.edk2.fault_tolerant_write import FaultTolerantWorkingBlockHeader
from pvefi.spec.edk2.ovmf import OVMF_4M
from pvefi.spec.edk2.variable_store import (
    ADDED,
    HEADER_VALID_ONLY,
    IN_DELETED_TRANSITION,
    VARIABLE_DATA,
    AuthenticatedVariableHeader,
)
from pvefi.spec.uefi.variables import VariableAttribute
from tests.efi.varstore.flash import LAYOUTS, SMALL, VENDOR, Flash, held, opened, store_on, variable


def used_store() -> bytes:
    """Return a store with variables in every state, and a queue of writes."""
    flash = Flash()
    store = store_on(flash)
    for number in range(12):
        store.put(variable("A", bytes([number]) * 60))
        store.put(variable("Bee" if number % 2 else "C", b"b" * number))
    store.remove("C", VENDOR)
    return bytes(flash.contents)


USED = used_store()
_QUEUE = SMALL.working_offset + FaultTolerantWorkingBlockHeader.SIZE
_PLACES = (  # where bytes mean something: headers, the first variables, the queue
    st.integers(0, FIRST - 1)
    | st.integers(FIRST, FIRST + 200)
    | st.integers(_QUEUE - 32, _QUEUE + 90)
    | st.integers(0, SMALL.size - 1)
)
_BYTES = st.sampled_from((b"\0", b"\xff", b"\x01", b"\x7f", b"\x3f", b"\xaa\x55")) | st.binary(
    min_size=1, max_size=8
)


@given(st.lists(st.tuples(_PLACES, _BYTES), min_size=1, max_size=6), st.booleans())
@example([(SMALL.working_offset + 20, b"\xfc")], True)
@example([(_QUEUE, b"\xfc" + b"\xff" * 27 + b"\0" * 12)], True)
def test_a_store_with_any_bytes_changed_is_used_or_refused(
    changes: list[tuple[int, bytes]], fix: bool
) -> None:
    image = bytearray(USED)
    for at, data in changes:
        image[at : at + len(data)] = data[: len(image) - at]
    if fix:  # let it past the checksum
        image[:FIRST] = USED[:FIRST]
    reader = Flash(bytearray(image), writable=False)
    flash = Flash(bytearray(image))
    try:
        shown = all_of(Edk2Store(reader, LAYOUTS))
    except ImageError:
        with pytest.raises(ImageError) as refused:
            store_on(flash)
        assert "\n" not in str(refused.value)
        assert flash.contents == reader.contents == image
        return
    assert reader.contents == image
    store = store_on(flash)
    assert all_of(store) == shown == all_of(opened(flash.contents))
    for name in ("A", "New"):
        try:
            store.put(variable(name, b"put"))
        except StoreError:
            assert store.capacity().remaining < SMALL.largest_variable  # it was full
        else:
            shown[name, VENDOR] = b"put"
        assert all_of(store) == shown == all_of(opened(flash.contents))


def all_of(store: Edk2Store) -> dict[tuple[str, Guid], bytes]:
    return {(one.name, one.vendor): one.data for one in store}


@given(st.binary(max_size=SMALL.size))
def test_any_bytes_are_refused(contents: bytes) -> None:
    image = contents.ljust(SMALL.size, b"\xff")
    with pytest.raises(ImageError):
        opened(image)


@pytest.mark.parametrize("size", [0, 1, 71, 72, 99, 100, 0x41000, OVMF_4M.size - 1])
def test_a_truncated_store_is_refused_and_left_as_it_is(tmp_path: Path, size: int) -> None:
    path = tmp_path / "cut.fd"
    path.write_bytes(empty_store(OVMF_4M)[:size])
    before = hashlib.sha256(path.read_bytes()).digest()
    with pytest.raises(ImageError, match=f"found {size}"):
        Edk2Store.open(path)
    assert hashlib.sha256(path.read_bytes()).digest() == before


# ---------------------------------------------------------------- what a store may hold besides


def record(name: str, data: bytes, *, state: int = ADDED, **fields: int) -> bytes:
    header = AuthenticatedVariableHeader(
        start_id=VARIABLE_DATA,
        state=state,
        reserved=fields.get("reserved", 0),
        attributes=fields.get("attributes", 7),
        monotonic_count=fields.get("monotonic_count", 0),
        timestamp=bytes(range(16)),
        public_key_index=fields.get("public_key_index", 0),
        name_size=name_size(name),
        data_size=len(data),
        vendor=VENDOR.wire,
    )
    whole = header.pack() + f"{name}\0".encode("utf-16-le") + data
    return whole + b"\xff" * (-len(whole) % 4)


def with_records(*records: bytes) -> Flash:
    image = bytearray(empty_store(SMALL))
    body = b"".join(records)
    image[FIRST : FIRST + len(body)] = body
    return Flash(image)


STRANGE = {
    "attributes that nobody knows": record("S", b"data", attributes=0xFFFF_FF27),
    "a monotonic count and the index of a key": record(
        "S", b"data", attributes=0x17, monotonic_count=0x1122334455667788, public_key_index=9
    ),
    "a reserved byte": record("S", b"data", reserved=0x5A),
    "no data": record("S", b""),
}


@pytest.mark.parametrize("what", STRANGE)
def test_what_others_wrote_outlasts_changes_and_clearing_away_byte_for_byte(what: str) -> None:
    flash = with_records(STRANGE[what])
    before = store_on(flash).get("S", VENDOR)
    for number in range(40):
        store = store_on(flash)
        store.put(variable("A", bytes([number]) * 50))
        assert store.get("S", VENDOR) == before
        assert STRANGE[what] in bytes(flash.contents[: SMALL.store_size])


DUPLICATES = {
    "two that are added": ((ADDED, b"first"), (ADDED, b"second"), b"first"),
    "an old one and its successor": ((ADDED & IN_DELETED_TRANSITION, b"old"), (ADDED, b"new"), b"new"),
    "a successor and its old one": ((ADDED, b"new"), (ADDED & IN_DELETED_TRANSITION, b"old"), b"new"),
    "two old ones": (
        (ADDED & IN_DELETED_TRANSITION, b"older"),
        (ADDED & IN_DELETED_TRANSITION, b"old"),
        b"old",
    ),
    "an old one and one that was never finished": (
        (ADDED & IN_DELETED_TRANSITION, b"old"),
        (HEADER_VALID_ONLY, b"new"),
        b"old",
    ),
}


@pytest.mark.parametrize("what", DUPLICATES)
def test_of_several_variables_of_one_name_the_one_counts_that_counts_for_edk2(what: str) -> None:
    *states, expected = DUPLICATES[what]
    records = [record("S", bytes(data), state=int(state)) for state, data in states]
    flash = with_records(*records, record("Other", b"other"))
    reader = Flash(bytearray(flash.contents), writable=False)
    assert held(Edk2Store(reader, LAYOUTS)) == {"S": expected, "Other": b"other"}
    store = store_on(flash)
    for number in range(40):
        store.put(variable("A", bytes([number]) * 40))
        assert held(opened(flash.contents)) == {
            "S": expected,
            "Other": b"other",
            "A": bytes([number]) * 40,
        }
    store.remove("S", VENDOR)
    assert set(held(opened(flash.contents))) == {"A", "Other"}


def test_the_time_of_a_signed_variable_and_any_attributes_are_kept() -> None:
    signed = Variable("db", VENDOR, VariableAttribute(0x27), b"list", bytes(range(1, 17)))
    flash = Flash()
    store_on(flash).put(signed)
    assert opened(flash.contents).get("db", VENDOR) == signed
    later = Variable("db", VENDOR, VariableAttribute(0x27), b"list", bytes(range(2, 18)))
    store_on(flash).put(later)
    assert opened(flash.contents).get("db", VENDOR) == later
