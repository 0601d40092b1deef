# SPDX-License-Identifier: GPL-2.0-or-later
"""How the data of a node becomes text: one function a kind of node, None for data of another form."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pvefi.layout import Guid, Structure

__all__ = ["Spelling", "ascii_text", "begins", "guid_alone", "utf16_text", "whole"]

Spelling = Callable[[bytes], str | None]
"""Returns the text of a node whose header has these bytes behind it, None when they are malformed."""

S = TypeVar("S", bound=Structure)


def whole(kind: type[S], spell: Callable[[S], str | None]) -> Spelling:
    """Return the spelling of nodes that are one structure and nothing else."""
    return lambda data: spell(kind.unpack(data)) if len(data) == kind.SIZE else None


def begins(kind: type[S], spell: Callable[[S, bytes], str | None]) -> Spelling:
    """Return the spelling of nodes that begin with a structure and go on after it."""

    def spelled(data: bytes) -> str | None:
        return spell(kind.unpack(data), data[kind.SIZE :]) if len(data) >= kind.SIZE else None

    return spelled


def guid_alone(word: str) -> Spelling:
    """Return the spelling of nodes that are a GUID: Fv(...)."""
    return lambda data: f"{word}({Guid(data)})" if len(data) == Guid.SIZE else None


def ascii_text(data: bytes) -> str:
    """Return what stands before the first NUL, if any; other than ASCII as escapes."""
    return data.partition(b"\0")[0].decode("ascii", "backslashreplace")


def utf16_text(data: bytes) -> str:
    """Return what stands before the first NUL character, if any."""
    return data.decode("utf-16-le", "replace").partition("\0")[0]
