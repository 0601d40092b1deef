# SPDX-License-Identifier: GPL-2.0-or-later
"""Takes the fields of a JSON object by their type; whatever is otherwise raises ProbeError with its place."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import NoReturn

from pvefi.errors import PvefiError

__all__ = ["Fields", "ProbeError"]

_DIGITS = re.compile(r"0x[0-9a-fA-F]{1,16}|[0-9]{1,20}")
_MAX_NUMBER = 1 << 64


class ProbeError(PvefiError):
    """Console text without the probe's lines, or with lines that are not as the probe writes them."""


class Fields:
    """A JSON object at `place`, which errors name."""

    def __init__(self, place: str, given: Mapping[str, object]) -> None:
        self._place = place
        self._given = given

    def names(self) -> tuple[str, ...]:
        """Return the names of all fields."""
        return tuple(self._given)

    def flag(self, name: str) -> bool:
        """Return a truth value."""
        value = self._value(name)
        return value if isinstance(value, bool) else self._wrong(name, "true or false")

    def text(self, name: str) -> str:
        """Return a string."""
        value = self._value(name)
        return value if isinstance(value, str) else self._wrong(name, "a string")

    def optional_text(self, name: str) -> str | None:
        """Return a string, or None for null."""
        return None if self._value(name) is None else self.text(name)

    def texts(self, name: str) -> tuple[str, ...]:
        """Return an array of strings."""
        return tuple(
            item if isinstance(item, str) else self._wrong(name, "strings only") for item in self._array(name)
        )

    def integer(self, name: str) -> int:
        """Return a number, or what a string has in decimal or after 0x."""
        return self._integer(name, self._value(name))

    def optional_integer(self, name: str) -> int | None:
        """Return a number, or None for null."""
        return None if self._value(name) is None else self.integer(name)

    def optional_integers(self, name: str) -> tuple[int | None, ...]:
        """Return an array of numbers and nulls."""
        return tuple(None if item is None else self._integer(name, item) for item in self._array(name))

    def decimal(self, name: str) -> float:
        """Return the first number of a string that has a decimal point."""
        match = re.match(r"\d{1,12}\.\d{1,6}(?!\S)", self.text(name))
        return float(match[0]) if match else self._wrong(name, "a number with a point")

    def number_in(self, name: str, pattern: str) -> int:
        """Return the number that the group of `pattern` finds in a string."""
        match = re.fullmatch(pattern, self.text(name))
        return self._integer(name, match[1] if match else None)

    def data(self, name: str) -> bytes:
        """Return what a string has in base64."""
        try:
            return base64.b64decode(self.text(name), validate=True)
        except (binascii.Error, ValueError):
            self._wrong(name, "base64")

    def optional_data(self, name: str) -> bytes | None:
        """Return what a string has in base64, or None for null."""
        return None if self._value(name) is None else self.data(name)

    def assignments(self, name: str) -> dict[str, int]:
        """Return an array of strings NAME=NUMBER."""
        pairs = (line.partition("=") for line in self.texts(name))
        return {key: self._integer(name, value) for key, _, value in pairs}

    def inner(self, name: str) -> Fields:
        """Return an object within."""
        return self._object(name, self._value(name))

    def list(self, name: str) -> tuple[Fields, ...]:
        """Return an array of objects."""
        return tuple(self._object(f"{name}[{number}]", item) for number, item in enumerate(self._array(name)))

    def _object(self, name: str, value: object) -> Fields:
        if not isinstance(value, dict):
            self._wrong(name, "an object")
        return Fields(f"{self._place}.{name}", value)

    def _array(self, name: str) -> tuple[object, ...]:
        value = self._value(name)
        return tuple(value) if isinstance(value, list) else self._wrong(name, "an array")

    def _integer(self, name: str, value: object) -> int:
        if isinstance(value, str) and _DIGITS.fullmatch(value):
            value = int(value, 16 if value.startswith("0x") else 10)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MAX_NUMBER:
            return value
        return self._wrong(name, "a number of 64 bits")

    def _value(self, name: str) -> object:
        if name not in self._given:
            self._wrong(name, "a value")
        return self._given[name]

    def _wrong(self, name: str, expected: str) -> NoReturn:
        found = str(self._given.get(name, "none"))
        raise ProbeError(f"probe: {self._place}.{name}: expected {expected}, found {found[:60]}")
