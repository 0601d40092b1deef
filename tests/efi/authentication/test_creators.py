# SPDX-License-Identifier: GPL-2.0-or-later
"""certdb and certdbv: what edk2 would write is read, and nothing else."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvefi.efi.authentication.creators import pack_creators, read_creators
from pvefi.layout import Guid

VENDOR = Guid.parse("11111111-2222-3333-4444-555555555555")
GUIDS = st.binary(min_size=16, max_size=16).map(Guid)
NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=()), min_size=1, max_size=20)


def node(
    name: str = "Mine", certificate: bytes = b"c" * 32, *, size: int | None = None, length: int | None = None
) -> bytes:
    text = name.encode("utf-16-le")
    size = 28 + len(text) + len(certificate) if size is None else size
    length = len(name) if length is None else length
    return VENDOR.wire + struct.pack("<III", size, length, len(certificate)) + text + certificate


def database(*nodes: bytes) -> bytes:
    body = b"".join(nodes)
    return struct.pack("<I", 4 + len(body)) + body


@given(st.dictionaries(st.tuples(NAMES, GUIDS), st.binary(max_size=64), max_size=5))
def test_what_is_packed_is_read_again(creators: dict[tuple[str, Guid], bytes]) -> None:
    assert read_creators(pack_creators(creators)) == creators


def test_of_two_entries_for_one_variable_the_first_counts_as_edk2_has_it() -> None:
    assert read_creators(database(node(), node(certificate=b"d" * 32))) == {("Mine", VENDOR): b"c" * 32}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\4\0\0",
        b"\5\0\0\0",
        database(node()) + b"\0",
        database(node(), b"\0"),
        database(node()[:-1]),
        database(node(size=0)),
        database(node(length=0xFFFFFFFF)),
        database(node(size=0xFFFFFFFF)),
    ],
)
def test_what_is_not_sound_is_not_read_in_part(data: bytes) -> None:
    assert read_creators(data) is None


@given(st.binary(max_size=200))
def test_no_bytes_do_any_harm(data: bytes) -> None:
    creators = read_creators(database(data))
    assert creators is None or sum(map(len, creators.values())) <= len(data)
