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
from pvefi.report.text import Fact, byte_count, fact_lines, section, size_text
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
    "listing_lines",
    "read_export",
    "variable_lines",
    "variables_to_json",
]

SCHEMA = "pvefi/variables"
VERSION = 1
_EXPORT_VERSION = 2  # of virt-firmware's document
_SHOWN_BYTES = 16
_ROWS = (16, 8, 4)  # bytes of a hexadecimal dump's row: the longest that fits
_NAME_AT_MOST = 40  # columns
_LEAST_NAME = 16
_SHORT_VENDOR = 24
_LEAST_VALUE = 20
_VALUE_SHARE = 5  # a value has a fifth of a narrow terminal at least
_GAP = 2
_ELLIPSIS = "…"


def listing_lines(variables: Iterable[Variable], capacity: Capacity, width: int | None) -> list[Text]:
    """Return a line for each variable, and what room there is.

    Names and, within `width`, values that are too long end in an ellipsis. Where that is not enough,
    attributes and sizes are left out, and vendors become shorter: of a GUID its beginning is left.
    """
    listed = list(variables)
    names = [_cut(Text(escaped(one.name)), _NAME_AT_MOST) for one in listed]
    vendors = [Text(guid_name(one.vendor)) for one in listed]
    least = _LEAST_VALUE
    if width is not None:
        least = min(least, width // _VALUE_SHARE)
        room = width - least - 2 * _GAP
        if _widest(names) + _widest(vendors) > room:
            vendors = [_short_vendor(one.vendor) for one in listed]
        room -= _widest(vendors)
        names = [_cut(name, max(room, _LEAST_NAME)) for name in names]
    rows = [
        (name, vendor, attribute_text(one.attributes), str(len(one.data)), _value(one))
        for name, vendor, one in zip(names, vendors, listed, strict=True)
    ]
    head = ("name", "vendor", "attributes", "size", "value")
    lines = columns(
        [head, *rows],
        "<<<><",
        gap=_GAP,
        width=width,
        spare=(2, 3),
        least=least,
        fold=lambda value, left: [_cut(value, left)],
    )
    lines[0].stylize("dim")
    free = f"{size_text(capacity.remaining)} of {size_text(capacity.size)} free"
    count = f"{len(rows)} variable{'' if len(rows) == 1 else 's'}"
    return [*lines, Text(), Text(f"{count}, {free}")] if rows else [Text(f"no variables, {free}")]


def _cut(text: Text, width: int) -> Text:
    """Return `text`, with an ellipsis at its end where it is wider than `width`."""
    text = text.copy()
    text.truncate(width, overflow="ellipsis")
    return text


def _widest(texts: Iterable[Text]) -> int:
    return max((text.cell_len for text in texts), default=0)


def _short_vendor(vendor: Guid) -> Text:
    """Return the vendor's name, or the first of its GUID's groups."""
    if vendor in GUID_NAMES:
        return _cut(Text(GUID_NAMES[vendor]), _SHORT_VENDOR)
    return Text(str(vendor).partition("-")[0] + _ELLIPSIS)


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
    facts.append(("size", [byte_count(len(variable.data))]))
    if variable.timestamp != NO_TIME:
        facts.append(("signed", [_time_text(variable.timestamp)]))
    if meaning is not None:
        facts.append(("value", [escaped(line) for line in (meaning.line, *meaning.more)]))
    head = Text(escaped(variable.name), "bold")
    return [head, *fact_lines(facts, width), *section("bytes", map(Text, _hex_dump(variable.data, width)))]


def _vendor_text(vendor: Guid) -> str:
    return f"{vendor} {guid_name(vendor)}" if vendor in GUID_NAMES else str(vendor)


def _time_text(timestamp: bytes) -> str:
    year = int.from_bytes(timestamp[:2], "little")
    month, day, hour, minute, second = timestamp[2:7]
    return f"{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}"


def _hex_dump(data: bytes, width: int | None) -> Iterator[str]:
    """Yield `data` in rows of sixteen bytes or as many as fit, each with its offset and its characters."""
    digits = max(4, len(f"{len(data):x}"))
    fitting = (size for size in _ROWS if width is None or digits + 4 * size + 5 <= width)
    size = next(fitting, _ROWS[-1])
    for at in range(0, len(data), size):
        row = data[at : at + size]
        text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)
        yield f"  {at:0{digits}x}  {row.hex(' '):<{3 * size - 1}}  {text}"


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
