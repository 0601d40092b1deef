# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes one row of the many fields of a setup header that was handed over whole, or not at all.

A loader copies the header from the image into boot_params (Linux boot.rst "64-bit Boot Protocol"): what is
told of each of its fields would be the same. Fields that a loader writes keep rows of their own.
"""

from __future__ import annotations

from collections.abc import Sequence

from pvefi.evaluate.analysis.results import shown
from pvefi.evaluate.document import Cell, Mark

__all__ = ["with_header_as_one"]

Row = tuple[Cell, ...]

_HEADER = "hdr."
_WRITTEN = frozenset(
    {
        *("vid_mode", "type_of_loader", "loadflags", "setup_move_size", "code32_start", "ramdisk_image"),
        *("ramdisk_size", "heap_end_ptr", "ext_loader_ver", "ext_loader_type", "cmd_line_ptr"),
        *("hardware_subarch", "hardware_subarch_data", "setup_data"),
    }
)
"""What boot loaders write or modify: Linux boot.rst "Details of Header Fields", types write and modify."""
_LEAST = 3
"""So many fields have to be alike."""


def with_header_as_one(rows: Sequence[Row], name: int) -> list[Row]:
    """Return `rows` with those merged that say of a header's fields only who has them.

    Column `name` has the field's name, the last its meaning, those between its values: equal where not 0.
    """
    alike: dict[tuple[bool, ...], list[Row]] = {}
    for row in rows:
        values = [one.value for one in row[name + 1 : -1]]
        kinds = {value for value in values if value}
        field = row[name].text.removeprefix(_HEADER)
        copied = row[name].text.startswith(_HEADER) and field not in _WRITTEN
        if copied and len(kinds) == 1 and all(isinstance(v, int) for v in values):
            alike.setdefault(tuple(map(bool, values)), []).append(row)
    merged = {id(row): group for group in alike.values() if len(group) >= _LEAST for row in group}
    found: list[Row] = []
    for row in rows:
        group = merged.get(id(row))
        if group is None:
            found.append(row)
        elif row is group[0]:
            found.append(_merged(group, name))
    return found


def _merged(group: Sequence[Row], name: int) -> Row:
    first = group[0]
    names = " ".join(row[name].text.removeprefix(_HEADER) for row in group)
    cells = [
        Cell("the same value" if one.value else "0", bool(one.value), Mark(one.mark))
        for one in first[name + 1 : -1]
    ]
    what = Cell(
        shown(f"fields that come with the image's setup header, equal wherever they are not 0: {names}", 600)
    )
    return (*first[:name], Cell(f"{_HEADER}* ({len(group)} fields)"), *cells, what)
