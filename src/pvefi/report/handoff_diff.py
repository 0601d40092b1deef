# SPDX-License-Identifier: GPL-2.0-or-later
"""Two hand-offs compared field by field, each with its meaning.

What only stands at another address, by KASLR or because the guest allocated it elsewhere, is a difference
that is marked as such where that can be told.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pvefi.report.boot_document import BootDocument
from pvefi.report.boot_params_diff import boot_params_rows
from pvefi.report.handoff_maps_diff import e820_rows, efi_map_rows
from pvefi.report.handoff_places import surroundings
from pvefi.report.handoff_row import Row
from pvefi.report.handoff_rows import (
    given_rows,
    mapping_rows,
    path_rows,
    proof_rows,
    register_rows,
    setup_data_rows,
    table_rows,
)
from pvefi.trace.spelling import escaped
from pvefi.trace.values import Json

__all__ = ["HandoffDiff", "diff_boots"]


@dataclass(frozen=True)
class HandoffDiff:
    """Two boots; `rows` has every field of the two hand-offs, none when one side has no hand-off.

    `context` is what is not part of the hand-off: told, not judged.
    """

    a: BootDocument
    b: BootDocument
    context: tuple[Row, ...]
    rows: tuple[Row, ...]

    @property
    def differences(self) -> tuple[Row, ...]:
        """The fields that differ."""
        return tuple(row for row in self.rows if not row.equal)

    @property
    def equal(self) -> bool:
        """Whether both kernels were given the same, at the same addresses."""
        return self.a.handoff is not None and self.b.handoff is not None and not self.differences


def diff_boots(a: BootDocument, b: BootDocument) -> HandoffDiff:
    """Return the comparison of two boots."""
    context = tuple(_context_rows(a, b))
    if a.handoff is None or b.handoff is None:
        return HandoffDiff(a, b, context, ())
    one, two = a.handoff, b.handoff
    places = surroundings(one, two)
    sections = (
        path_rows,
        proof_rows,
        mapping_rows,
        register_rows,
        given_rows,
        boot_params_rows,
        setup_data_rows,
        e820_rows,
        efi_map_rows,
        table_rows,
    )
    return HandoffDiff(a, b, context, tuple(row for rows in sections for row in rows(one, two, places)))


def _context_rows(a: BootDocument, b: BootDocument) -> Iterator[Row]:
    for name, value in a.context.items():
        other = b.context[name]
        yield Row("boot", name, (value, other), (_context_text(value), _context_text(other)))


def _context_text(value: Json) -> str:
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else escaped(str(value))
