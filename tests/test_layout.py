# SPDX-License-Identifier: GPL-2.0-or-later
"""Binary layouts: sizes, offsets, round trips of every kind of field."""

from __future__ import annotations

import struct
from typing import Annotated
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvefi.layout import (
    S8,
    S16,
    S32,
    S64,
    U8,
    U16,
    U32,
    U64,
    Array,
    Bytes,
    Guid,
    OpenEnum,
    Scalar,
    Structure,
    layout,
)
from pvefi.spec.edk2.firmware_volume import FirmwareVolumeHeader
from pvefi.spec.edk2.variable_store import VariableHeader


class Colour(OpenEnum):
    RED = 1
    BLUE = 0x80000000


ColourField = Annotated[Colour, Scalar("I")]


@layout(size=6)
class Point(Structure):
    x: U16
    y: S32


@layout(size=60)
class Everything(Structure):
    byte: U8
    signed: S8
    short: S16
    colour: ColourField
    guid: Guid
    name: Annotated[bytes, Bytes(4)]
    numbers: Annotated[tuple[int, ...], Array(3, "H")]
    origin: Point
    corners: Annotated[tuple[Point, ...], Array(2)]
    wide: S64


@layout(size=16)
class Plain(Structure):
    low: U32
    high: U32
    both: U64


points = st.builds(Point, st.integers(0, 0xFFFF), st.integers(-(2**31), 2**31 - 1))
everything = st.builds(
    Everything,
    byte=st.integers(0, 255),
    signed=st.integers(-128, 127),
    short=st.integers(-(2**15), 2**15 - 1),
    colour=st.integers(0, 2**32 - 1).map(Colour),
    guid=st.binary(min_size=16, max_size=16).map(Guid),
    name=st.binary(min_size=4, max_size=4),
    numbers=st.tuples(*[st.integers(0, 0xFFFF)] * 3),
    origin=points,
    corners=st.tuples(points, points),
    wide=st.integers(-(2**63), 2**63 - 1),
)


@given(everything)
def test_a_structure_survives_a_round_trip(value: Everything) -> None:
    assert len(value.pack()) == Everything.SIZE == 60
    assert Everything.unpack(value.pack()) == value


@given(st.binary(min_size=60, max_size=60))
def test_any_bytes_survive_a_round_trip(data: bytes) -> None:
    assert Everything.unpack(data).pack() == data


@given(st.binary(min_size=16, max_size=16), st.integers(0, 9))
def test_a_structure_is_read_at_its_offset_of_any_buffer(data: bytes, offset: int) -> None:
    padded = bytes(offset) + data + b"tail"
    for buffer in (padded, bytearray(padded), memoryview(padded)):
        assert Plain.unpack(buffer, offset).pack() == data


def test_fields_are_little_endian_and_packed_without_padding() -> None:
    assert Point(0x1234, -2).pack() == b"\x34\x12\xfe\xff\xff\xff"
    assert Plain(1, 2, 3).pack() == struct.pack("<IIQ", 1, 2, 3)


def test_offsets_count_nested_structures_and_arrays() -> None:
    names = ["byte", "signed", "short", "colour", "guid", "name", "numbers", "origin", "corners", "wide"]
    assert [Everything.offset_of(name) for name in names] == [0, 1, 2, 4, 8, 24, 28, 34, 40, 52]
    with pytest.raises(KeyError):
        Everything.offset_of("nothing")


def test_a_declaration_of_another_size_than_specified_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Short is 0x2 bytes, its specification says 0x4"):

        @layout(size=4)
        class Short(Structure):
            only: U16


def test_a_field_without_a_layout_is_refused() -> None:
    with pytest.raises(TypeError, match="has no layout"):

        @layout(size=4)
        class Vague(Structure):
            text: str


@pytest.mark.parametrize("kind", [Point, Plain, Everything])
def test_truncated_data_is_refused(kind: type[Structure]) -> None:
    with pytest.raises(struct.error):
        kind.unpack(bytes(kind.SIZE - 1))


def test_a_value_that_does_not_fit_is_refused() -> None:
    with pytest.raises(struct.error):
        Point(0x10000, 0).pack()


def test_a_structure_is_frozen() -> None:
    point = Point(1, 2)
    with pytest.raises(AttributeError):
        point.x = 3  # type: ignore[misc]


def test_a_guid_reads_and_prints_as_the_specification_writes_it() -> None:
    text = "5b1b31a1-9562-11d2-8e3f-00a0c969723b"
    guid = Guid.parse(text)
    assert str(guid) == text
    assert guid.wire[:4] == bytes.fromhex("a1311b5b")
    assert guid == Guid.parse(text.upper())
    with pytest.raises(ValueError, match="hexadecimal"):
        Guid.parse("no guid")


@given(st.uuids())
def test_every_guid_survives_text(value: UUID) -> None:
    assert str(Guid.parse(str(value))) == str(value)


def test_a_known_value_is_the_named_member() -> None:
    assert Colour(1) is Colour.RED
    assert Colour.RED.known


@given(st.integers(2, 0x7FFFFFFF))
def test_an_unknown_value_is_a_nameless_member_that_keeps_its_number(value: int) -> None:
    colour = Colour(value)
    assert colour == value
    assert not colour.known
    assert colour.name == f"Colour({value:#x})"
    assert value not in list(Colour)


def test_an_enumeration_takes_numbers_only() -> None:
    with pytest.raises(ValueError, match="not a valid Colour"):
        Colour("red")  # type: ignore[arg-type]


def test_a_picker_reads_single_fields_of_structures_in_a_row() -> None:
    headers = [VariableHeader(0x55AA, state, 0, 7, 10 * state, 4, bytes(16)) for state in (1, 2)]
    data = b"\xff" + b"".join(header.pack() for header in headers)
    pick = VariableHeader.picker("name_size", "state")
    assert [pick(data, 1 + at * VariableHeader.SIZE) for at in (0, 1)] == [(10, 1), (20, 2)]
    with pytest.raises(TypeError, match="FirmwareVolumeHeader has fields of several words"):
        FirmwareVolumeHeader.picker("signature", "attributes")
    with pytest.raises(ValueError, match="'none' is not in list"):
        VariableHeader.picker("state", "none")
