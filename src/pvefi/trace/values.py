# SPDX-License-Identifier: GPL-2.0-or-later
"""Values of a trace as JSON and back, without loss.

| value | JSON |
|---|---|
| number, truth, text, NULL | number, true/false, string, null |
| address | `{"address": "0x3e7f000"}` |
| buffer | `{"bytes": "48656c6c6f"}` |
| GUID | `{"guid": "607f766c-...", "name": "TCG2_PROTOCOL"}`; no name when no document names it |
| member, flags | `{"enum": "MemoryType", "value": 2, "name": "EfiLoaderData"}`; no name if it has none |

Addresses are strings because many JSON readers lose whole numbers above 2**53.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

from pvefi.layout import Guid
from pvefi.spec.uefi.guids import GUID_NAMES
from pvefi.trace.events import Address, Value
from pvefi.trace.spelling import Named, member_name

__all__ = ["Json", "value_from_json", "value_to_json"]

Json = int | float | str | bool | None | list["Json"] | dict[str, "Json"]
"""What the json module reads and writes."""


def value_to_json(value: Value) -> Json:
    """Return `value` in the form that the table above gives."""
    match value:
        case str() | None:
            return value
        case Address():
            return {"address": f"{value:#x}"}
        case Guid():
            named: dict[str, Json] = {"guid": str(value)}
            if value in GUID_NAMES:
                named["name"] = GUID_NAMES[value]
            return named
        case bytes():
            return {"bytes": value.hex()}
        case Named():
            return _member(int(value), value.enum, value.name)
        case IntEnum() | IntFlag():
            return _member(int(value), type(value).__name__, member_name(value))
        case _:
            return value


def _member(value: int, enum: str, name: str) -> Json:
    member: dict[str, Json] = {"enum": enum, "value": value}
    if name:
        member["name"] = name
    return member


def value_from_json(data: Json) -> Value:
    """Return the value that `value_to_json` wrote; ValueError when it is none of its forms.

    Enumeration members come back as `Named`, so that a trace prints the same where a name has changed since.
    """
    match data:
        case bool() | int() | str() | None:
            return data
        case {"address": str(address)}:
            return Address(int(address, 16))
        case {"guid": str(guid)}:
            return Guid.parse(guid)
        case {"bytes": str(hexadecimal)}:
            return bytes.fromhex(hexadecimal)
        case {"enum": str(enum), "value": int(value), "name": str(name)}:
            return Named(value, enum, name)
        case {"enum": str(enum), "value": int(value)}:
            return Named(value, enum, "")
        case _:
            raise ValueError(f"{data!r:.60} is no value of a trace")
