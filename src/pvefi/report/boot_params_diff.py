# SPDX-License-Identifier: GPL-2.0-or-later
"""Two zero pages compared field by field, halves of one number joined."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from pvefi.report.boot_document import HandoffDocument
from pvefi.report.boot_params import Field, FieldValue, boot_params_fields, value_text
from pvefi.report.boot_params_purpose import HALVES, PLACES, purpose_of
from pvefi.report.handoff_row import ELSEWHERE, Places, Row, address_row
from pvefi.trace.contrast import shown_apart
from pvefi.trace.values import Json

__all__ = ["boot_params_rows"]

_SECTION = "boot_params"
_FLAGS = frozenset({"screen_info.capabilities", "hdr.loadflags", "hdr.xloadflags"})
_HALF = 32  # bits
_HEX_SHOWN = 48


def boot_params_rows(a: HandoffDocument, b: HandoffDocument, places: Places) -> Iterator[Row]:
    """Yield the zero page's own address, then every field but the e820 table."""
    addresses = a.boot_params_address, b.boot_params_address
    yield address_row(_SECTION, "(address)", addresses, places, "where boot_params is", moved=ELSEWHERE)
    sides = [{field.name: field for field in boot_params_fields(side.boot_params)} for side in (a, b)]
    uppers = frozenset(HALVES.values())
    for name in sides[0]:
        if name in uppers:
            continue
        fields = sides[0][name], sides[1][name]
        values = _value(name, sides[0]), _value(name, sides[1])
        meaning, apart = purpose_of(name), _told(*fields)
        one, two = values
        if name in PLACES and isinstance(one, int) and isinstance(two, int):
            row = address_row(_SECTION, name, (one, two), places, meaning, moved=ELSEWHERE)
            yield replace(row, apart="; ".join(part for part in (apart, row.apart) if part))
        else:
            yield Row(_SECTION, name, (_json(one), _json(two)), _texts(one, two), meaning, apart=apart)


def _value(name: str, fields: Mapping[str, Field]) -> FieldValue:
    value = fields[name].value
    if name not in HALVES:
        return value
    upper = fields[HALVES[name]].value
    assert isinstance(value, int)
    assert isinstance(upper, int)
    return upper << _HALF | value


def _told(a: Field, b: Field) -> str:
    """Return what the two values mean where that differs; of flags only those that one side has."""
    if a.meaning == b.meaning:
        return ""
    texts = a.meaning, b.meaning
    if a.name in _FLAGS:
        names = [[name for name in text.split("|") if name] for text in texts]
        texts = (
            " ".join(name for name in names[0] if name not in names[1]),
            " ".join(name for name in names[1] if name not in names[0]),
        )
        return "; ".join(f"{side} has {text}" for side, text in zip("AB", texts, strict=True) if text)
    return "; ".join(f"{side}: {text}" for side, text in zip("AB", texts, strict=True) if text)


def _texts(a: FieldValue, b: FieldValue) -> tuple[str, str]:
    if isinstance(a, bytes) and isinstance(b, bytes):
        return shown_apart(a.hex(), b.hex(), _HEX_SHOWN)
    return value_text(a), value_text(b)


def _json(value: FieldValue) -> Json:
    match value:
        case bytes():
            return value.hex()
        case tuple():
            return list(value)
    return int(value)
