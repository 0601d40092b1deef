# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads JSON documents that may come from anywhere: what is not as expected is one line with its place."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, TypeVar

from pvefi.errors import UsageError
from pvefi.trace.values import Json

__all__ = ["Node", "load_json", "parse_json"]

T = TypeVar("T")

_SIZE_LIMIT = 64 << 20  # bytes; a boot takes less than 64 KiB
_FOUND_LIMIT = 40  # characters of what was found instead


class Node:
    """A value of a document, with its place for messages; its methods raise UsageError."""

    def __init__(self, value: Json, file: str, place: str = "") -> None:
        self.value, self.file, self._place = value, file, place

    def unexpected(self, expected: str) -> NoReturn:
        """Raise the error that says what was expected here and what is found."""
        found = "nothing" if self.value is None else f"{self.value!r:.{_FOUND_LIMIT}}"
        place = f"{self._place}: " if self._place else ""
        raise UsageError(f"{self.file}: {place}expected {expected}, found {found}")

    def member(self, name: str) -> Node:
        """Return a member of this object; one that is not there has the value None."""
        value = self.value
        if not isinstance(value, dict):
            self.unexpected("an object")
        return Node(value.get(name), self.file, f"{self._place}.{name}" if self._place else name)

    def members(self) -> dict[str, Node]:
        """Return the members of this object by name."""
        if not isinstance(self.value, dict):
            self.unexpected("an object")
        return {name: self.member(name) for name in self.value}

    def elements(self) -> list[Node]:
        """Return the elements of this list."""
        if not isinstance(self.value, list):
            self.unexpected("a list")
        return [Node(value, self.file, f"{self._place}[{at}]") for at, value in enumerate(self.value)]

    def text(self) -> str:
        """Return this text."""
        if not isinstance(self.value, str):
            self.unexpected("a text")
        return self.value

    def number(self) -> int:
        """Return this whole number."""
        if not isinstance(self.value, int) or isinstance(self.value, bool):
            self.unexpected("a whole number")
        return self.value

    def word(self) -> int:
        """Return this address, size or register: a number of 64 bits, not negative."""
        if not 0 <= self.number() < 1 << 64:
            self.unexpected("a number of 64 bits")
        return self.number()

    def scalar(self) -> int | float | str | None:
        """Return this number or text, or None."""
        if isinstance(self.value, dict | list):
            self.unexpected("a number or a text")
        return self.value

    def made(self, make: Callable[[str], T], what: str) -> T:
        """Return what `make` makes of this text; where it raises ValueError, `what` was expected."""
        text = self.text()
        try:
            return make(text)
        except ValueError:
            self.unexpected(what)


def load_json(path: Path, way_out: str, limit: int = _SIZE_LIMIT) -> Node:
    """Return the document in the file `path`; UsageError when there is none, with `way_out`.

    It has at most `limit` bytes, a number of MiB.
    """
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"{path}: cannot read the document: {reason}") from error
    if len(data) > limit:
        raise UsageError(f"{path}: expected a JSON document, found more than {limit >> 20} MiB", way_out)
    return parse_json(data, str(path), way_out)


def parse_json(data: bytes, where: str, way_out: str) -> Node:
    """Return the document that `data` is; UsageError when it is none, with its place and `way_out`."""
    if not data.strip():
        found = "an empty file"
    else:
        try:
            return Node(json.loads(data, parse_constant=_refuse), where)
        except json.JSONDecodeError as error:
            found = f"{data[:16]!r}"
            if error.msg == "Extra data" and data[:1] == b"{":
                found = "several, as a trace has"
            elif error.pos >= len(error.doc.rstrip()) or error.msg.startswith("Unterminated"):
                found = f"one that is cut short in line {error.lineno}"
        except (ValueError, RecursionError):
            found = f"{data[:16]!r}"
    raise UsageError(f"{where}: expected a JSON document, found {found}", way_out)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")
