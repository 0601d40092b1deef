# SPDX-License-Identifier: GPL-2.0-or-later
"""Values go into JSON and come back the same; anything else is refused, with its place."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import IntFlag

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvefi.frozen_json import from_json, to_json
from pvefi.layout import Guid


class Flag(IntFlag):
    ONE = 1
    TWO = 2


@dataclass(frozen=True)
class Part:
    name: str
    number: int


@dataclass(frozen=True)
class Whole:
    truth: bool
    maybe: int | None
    data: bytes
    guid: Guid
    flags: Flag
    parts: tuple[Part, ...]
    pair: tuple[Guid, int]


GUID = Guid(bytes(range(16)))
WHOLE = Whole(True, None, b"\0\xff", GUID, Flag.ONE | Flag.TWO, (Part("\ud800x", -1),), (GUID, 5))

values = st.builds(
    Whole,
    st.booleans(),
    st.none() | st.integers(),
    st.binary(),
    st.binary(min_size=16, max_size=16).map(Guid),
    st.integers(0, 3).map(Flag),
    st.lists(st.builds(Part, st.text(), st.integers())).map(tuple),
    st.tuples(st.just(GUID), st.integers()),
)


@given(values)
def test_a_value_comes_back_from_json_as_it_was(value: Whole) -> None:
    assert from_json(Whole, json.loads(json.dumps(to_json(value)))) == value


def test_a_lone_surrogate_comes_back_too() -> None:
    assert from_json(Whole, json.loads(json.dumps(to_json(WHOLE)))) == WHOLE


@pytest.mark.parametrize(
    ("field", "value", "place"),
    [
        ("truth", 1, "Whole.truth"),
        ("maybe", True, "Whole.maybe"),
        ("maybe", 1.0, "Whole.maybe"),
        ("data", "xx", "Whole.data"),
        ("data", [0], "Whole.data"),
        ("guid", "x", "Whole.guid"),
        ("flags", "x", "Whole.flags"),
        ("parts", None, "Whole.parts"),
        ("parts", [{"name": "x"}], "Whole.parts[0]"),
        ("parts", [{"name": "x", "number": 1, "more": 2}], "more"),
        ("parts", [{"name": 1, "number": 1}], "Whole.parts[0].name"),
        ("pair", [str(GUID)], "Whole.pair"),
        ("pair", [str(GUID), "5"], "Whole.pair[1]"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(field: str, value: object, place: str) -> None:
    with pytest.raises(ValueError, match=place.replace("[", r"\[").replace("]", r"\]")):
        from_json(Whole, {**to_json(WHOLE), field: value})


@pytest.mark.parametrize("data", [None, 5, [], "x", {}])
def test_what_is_no_such_value_is_refused(data: object) -> None:
    with pytest.raises(ValueError, match="Whole"):
        from_json(Whole, data)


def test_what_has_no_place_in_json_is_refused() -> None:
    with pytest.raises(TypeError):
        to_json(object())
