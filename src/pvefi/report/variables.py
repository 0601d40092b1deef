# SPDX-License-Identifier: GPL-2.0-or-later
"""What `pvefi vars` says of a store and of its variables, for people and as JSON documents."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from rich.text import Text

from pvefi.efi.varstore.store import NO_TIME, Capacity, Variable
from pvefi.errors import UsageError
from pvefi.layout import Guid
from pvefi.report.json_node import Node, load_json
from pvefi.report.text import Fact, fact_lines, section, size_text
from pvefi.report.variable_values import attribute_text, meaning_of
from pvefi.spec.uefi.guids import GUID_NAMES, guid_name
from pvefi.spec.uefi.variables import VariableAttribute
from pvefi.trace.columns import columns
from pvefi.trace.spelling import escaped
from pvefi.trace.values import Json

__all__ = [
    "SCHEMA",
    "VERSION",
    "export_to_json",
    "hex_dump",
    "listing_lines",
    "read_export",
    "variable_lines",
    "variables_to_json",
]

SCHEMA = "pvefi/variables"
VERSION = 1
_EXPORT_VERSION = 2  # of virt-firmware's document
_SHOWN_BYTES = 16
_ROW = 16
_LEAST_VALUE = 20  # columns


def listing_lines(variables: Iterable[Variable], capacity: Capacity, width: int | None) -> list[Text]:
    """Return a line for each variable, and what room there is."""
    rows = [
        (
            escaped(one.name),
            guid_name(one.vendor),
            attribute_text(one.attributes),
            str(len(one.data)),
            _value(one),
        )
        for one in variables
    ]
    head = ("name", "vendor", "attributes", "size", "value")
    lines = columns([head, *rows], "<<<><", width=width, spare=(2, 1), least=_LEAST_VALUE)
    lines[0].stylize("dim")
    room = f"{size_text(capacity.remaining)} of {size_text(capacity.size)} free"
    count = f"{len(rows)} variable{'' if len(rows) == 1 else 's'}"
    return [*lines, Text(), Text(f"{count}, {room}")] if rows else [Text(f"no variables, {room}")]


def _value(variable: Variable) -> str:
    if meaning := meaning_of(variable):
        return escaped(meaning.line)
    shown = variable.data[:_SHOWN_BYTES].hex(" ")
    return f"{shown} ..." if len(variable.data) > _SHOWN_BYTES else shown


def variable_lines(variable: Variable, width: int | None) -> list[Text]:
    """Return all that there is to say of one variable, its bytes too."""
    meaning = meaning_of(variable)
    facts: list[Fact] = [("vendor", [_vendor_text(variable.vendor)])]
    facts.append(("attributes", [attribute_text(variable.attributes)]))
    facts.append(("size", [f"{len(variable.data)} bytes"]))
    if variable.timestamp != NO_TIME:
        facts.append(("signed", [_time_text(variable.timestamp)]))
    if meaning is not None:
        facts.append(("value", [escaped(line) for line in (meaning.line, *meaning.more)]))
    head = Text(escaped(variable.name), "bold")
    return [head, *fact_lines(facts, width), *section("bytes", map(Text, hex_dump(variable.data)))]


def _vendor_text(vendor: Guid) -> str:
    return f"{vendor} {guid_name(vendor)}" if vendor in GUID_NAMES else str(vendor)


def _time_text(timestamp: bytes) -> str:
    year = int.from_bytes(timestamp[:2], "little")
    month, day, hour, minute, second = timestamp[2:7]
    return f"{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}"


def hex_dump(data: bytes) -> Iterator[str]:
    """Yield `data` in rows of sixteen bytes, each with its offset and its characters."""
    for at in range(0, len(data), _ROW):
        row = data[at : at + _ROW]
        text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)
        yield f"  {at:04x}  {row.hex(' '):<{3 * _ROW - 1}}  {text}"


def variables_to_json(path: Path, variables: Iterable[Variable], capacity: Capacity) -> dict[str, Json]:
    """Return the document of a store, or of one of its variables."""
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "store": str(path),
        "size": capacity.size,
        "remaining": capacity.remaining,
        "maximum_variable_size": capacity.room_for_one(0),
        "variables": [_to_json(one) for one in variables],
    }


def _to_json(variable: Variable) -> dict[str, Json]:
    meaning = meaning_of(variable)
    return {
        "name": variable.name,
        "vendor": str(variable.vendor),
        "vendor_name": GUID_NAMES.get(variable.vendor),
        "attributes": int(variable.attributes),
        "timestamp": None if variable.timestamp == NO_TIME else variable.timestamp.hex(),
        "data": variable.data.hex(),
        "value": None if meaning is None else meaning.value,
    }


def export_to_json(variables: Iterable[Variable]) -> dict[str, Json]:
    """Return the document that virt-firmware's `virt-fw-vars --output-json` writes."""
    return {"version": _EXPORT_VERSION, "variables": [_exported(one) for one in variables]}


def _exported(variable: Variable) -> dict[str, Json]:
    document: dict[str, Json] = {
        "name": variable.name,
        "guid": str(variable.vendor),
        "attr": int(variable.attributes),
        "data": variable.data.hex(),
    }
    if variable.timestamp != NO_TIME:
        document["time"] = variable.timestamp.hex()
    return document


def read_export(path: Path) -> list[Variable]:
    """Return the variables in a document of virt-firmware's or of `pvefi vars export`.

    UsageError when it is none.
    """
    document = load_json(path, "pvefi vars export and virt-fw-vars --output-json write them")
    if document.member("version").value != _EXPORT_VERSION:
        found = document.member("version").value
        raise UsageError(
            f"{path}: expected a document of variables, version {_EXPORT_VERSION}, found version {found!r}"
        )
    return [_imported(one) for one in document.member("variables").elements()]


def _imported(node: Node) -> Variable:
    name, time = node.member("name"), node.member("time")
    if not name.text() or "\0" in name.text():
        name.unexpected("a variable's name")
    attributes = node.member("attr").word()
    if attributes >> 32:
        node.member("attr").unexpected("a number of 32 bits")
    timestamp = NO_TIME if time.value is None else time.made(bytes.fromhex, "hexadecimal bytes")
    if len(timestamp) != len(NO_TIME):
        time.unexpected(f"{len(NO_TIME)} bytes")
    return Variable(
        name.text(),
        node.member("guid").made(Guid.parse, "a GUID"),
        VariableAttribute(attributes),
        node.member("data").made(bytes.fromhex, "hexadecimal bytes"),
        timestamp,
    )
