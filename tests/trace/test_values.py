# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import json

import pytest
from hypothesis import given

from pvefi.spec.uefi.guids import TCG2_PROTOCOL
from pvefi.spec.uefi.memory import MemoryType
from pvefi.trace.events import Address, Value
from pvefi.trace.spelling import spell
from pvefi.trace.values import Json, value_from_json, value_to_json
from tests.trace.made import values


@pytest.mark.parametrize(
    ("value", "data"),
    [
        (Address(0x3E7F000), {"address": "0x3e7f000"}),
        (b"Hello", {"bytes": "48656c6c6f"}),
        (TCG2_PROTOCOL, {"guid": "607f766c-7455-42be-930b-e4d76db2720f", "name": "TCG2_PROTOCOL"}),
        (MemoryType.LOADER_DATA, {"enum": "MemoryType", "value": 2, "name": "EfiLoaderData"}),
        (MemoryType(0x80000001), {"enum": "MemoryType", "value": 0x80000001}),
    ],
)
def test_typed_values_say_their_type(value: Value, data: Json) -> None:
    assert value_to_json(value) == data


@given(values)
def test_a_value_comes_back_equal_and_prints_the_same(value: Value) -> None:
    back = value_from_json(json.loads(json.dumps(value_to_json(value))))
    assert back == value
    assert spell(back) == spell(value)
    assert value_to_json(back) == value_to_json(value)


@pytest.mark.parametrize(
    "data",
    [
        1.5,
        [],
        {},
        {"address": 5},
        {"address": "here"},
        {"guid": "x"},
        {"bytes": "0"},
        {"enum": "MemoryType"},
        {"enum": "MemoryType", "value": "2"},
    ],
)
def test_what_is_no_value_is_refused(data: Json) -> None:
    with pytest.raises(ValueError, match=r"."):
        value_from_json(data)
