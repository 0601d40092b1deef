# SPDX-License-Identifier: GPL-2.0-or-later
"""The zero page, field by field: what differs from zero for people, everything for programs.

Names are those of Linux arch/x86/include/uapi/asm/bootparam.h, nested ones joined by dots. Values are shown
as they stand in memory; the meaning beside them decodes flags and joins what comes in two halves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from rich.text import Text

from pvefi.layout import OpenEnum, Structure
from pvefi.report.boot_params_meaning import meaning_of
from pvefi.spec.linux.boot_params import BootParams
from pvefi.trace.columns import Cell, columns
from pvefi.trace.values import Json

__all__ = [
    "Field",
    "FieldValue",
    "boot_params_fields",
    "boot_params_lines",
    "boot_params_to_json",
    "value_text",
]

FieldValue = int | bytes | tuple[int, ...]

_BYTES_SHOWN = 24

# Python's names where PEP 8 wants others than the header's.
_HEADER_NAMES: Mapping[str, str] = MappingProxyType({"orig_video_is_vga": "orig_video_isVGA"})


@dataclass(frozen=True)
class Field:
    """One field: its dotted name, its value as it stands in memory, and what that means, or ''."""

    name: str
    value: FieldValue
    meaning: str

    @property
    def is_zero(self) -> bool:
        """Whether the field holds nothing but zero bits."""
        return not (self.value if isinstance(self.value, int) else any(self.value))


def boot_params_fields(params: BootParams) -> list[Field]:
    """Return every field but the e820 table, in the order of memory."""
    return [
        Field(name, value, meaning_of(name, value, params))
        for name, value in _members("", params)
        if not name.startswith("e820_table")
    ]


def _members(prefix: str, structure: Structure) -> Iterator[tuple[str, FieldValue]]:
    for name, value in vars(structure).items():
        yield from _parts(prefix + _HEADER_NAMES.get(name, name), value)


def _parts(name: str, value: object) -> Iterator[tuple[str, FieldValue]]:
    match value:
        case Structure():
            yield from _members(f"{name}.", value)
        case tuple() if value and isinstance(value[0], Structure):
            for at, element in enumerate(value):
                yield from _parts(f"{name}[{at}]", element)
        case int() | bytes() | tuple():
            yield name, value


def boot_params_lines(params: BootParams, width: int | None = None) -> list[Text]:
    """Return the fields that are not zero, a line each: name, value, meaning."""
    rows: list[list[Cell]] = [
        [field.name, value_text(field.value), field.meaning]
        for field in boot_params_fields(params)
        if not field.is_zero
    ]
    return columns(rows, "<><", indent=2, width=width)


def value_text(value: FieldValue) -> str:
    """Return a field's value in hexadecimal; bytes are cut where they get long."""
    if isinstance(value, int):
        return f"{value:#x}"
    if isinstance(value, bytes):
        return value[:_BYTES_SHOWN].hex() + ("..." if len(value) > _BYTES_SHOWN else "")
    return " ".join(f"{element:#x}" for element in value)


def boot_params_to_json(params: BootParams, data: bytes) -> dict[str, Json]:
    """Return all fields, nested as in the header, with the meaning of those that have one and the raw bytes.

    `e820_table` holds the entries in use; the bytes have the rest.
    """
    document = _structure_to_json(params)
    document["e820_table"] = [_structure_to_json(entry) for entry in params.memory_map]
    fields = boot_params_fields(params)
    meanings: dict[str, Json] = {field.name: field.meaning for field in fields if field.meaning}
    return {"fields": document, "meanings": meanings, "bytes": data.hex()}


def _structure_to_json(structure: Structure) -> dict[str, Json]:
    return {_HEADER_NAMES.get(name, name): _to_json(value) for name, value in vars(structure).items()}


def _to_json(value: object) -> Json:
    match value:
        case Structure():
            return _structure_to_json(value)
        case tuple():
            return [_to_json(element) for element in value]
        case bytes():
            return value.hex()
        case OpenEnum():
            return {"value": int(value), "name": value.name if value.known else None}
        case int():
            return value
    raise TypeError(f"{value!r:.60} is no field of a structure")
