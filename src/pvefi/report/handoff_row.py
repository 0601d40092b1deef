# SPDX-License-Identifier: GPL-2.0-or-later
"""One field of two hand-offs, and how the difference between two addresses is told."""

from __future__ import annotations

from dataclasses import dataclass

from pvefi.report.handoff_places import Surroundings
from pvefi.trace.values import Json

__all__ = ["ELSEWHERE", "LEFT_OVER", "Places", "Row", "address_row", "number_row"]

ELSEWHERE = "allocated elsewhere"
LEFT_OVER = "left over, boot.rst demands nothing"

Places = tuple[Surroundings, Surroundings]
"""What stands where in A and in B."""


@dataclass(frozen=True)
class Row:
    """One field: A's and B's value for programs and for people, and what it means.

    `moved` is not empty where both have the same thing at another address, and says why. `apart` is what is
    known of both values, which it calls A and B.
    """

    section: str
    name: str
    values: tuple[Json, Json]
    texts: tuple[str, str]
    meaning: str = ""
    moved: str = ""
    apart: str = ""

    @property
    def explained(self) -> str:
        """What the field means, and what is known of both values."""
        return "; ".join(part for part in (self.meaning, self.apart) if part)

    @property
    def equal(self) -> bool:
        """Whether both sides have the same."""
        return self.values[0] == self.values[1]


def number_row(
    section: str,
    name: str,
    values: tuple[int | None, int | None],
    meaning: str = "",
    *,
    moved: str = "",
    apart: str = "",
    absent: str = "not told",
) -> Row:
    """Return the row of a number, in hexadecimal."""
    texts = [absent if value is None else f"{value:#x}" for value in values]
    return Row(section, name, values, (texts[0], texts[1]), meaning, moved, apart)


def address_row(
    section: str,
    name: str,
    values: tuple[int | None, int | None],
    places: Places,
    meaning: str = "",
    *,
    moved: str = "",
    absent: str = "not told",
) -> Row:
    """Return the row of a number that may be an address.

    `moved` is why the address may be another one; without it, what stands there tells.
    """
    roles = [side.role(value or 0) for side, value in zip(places, values, strict=True)]
    apart = ""
    if not all(values):
        moved = ""
    elif roles[0] and roles[0] == roles[1]:
        moved = moved or f"{roles[0]} in both"
    elif not moved and values[0] != values[1]:
        apart = "; ".join(f"{side}: {role}" for side, role in zip("AB", roles, strict=True) if role)
    return number_row(section, name, values, meaning, moved=moved, apart=apart, absent=absent)
