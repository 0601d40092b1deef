# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel may do with its own segments at the hand-off, in a word and as JSON."""

from __future__ import annotations

from pvefi.report.text import size_text
from pvefi.trace.values import Json
from pvefi.verdict import SegmentMapping

__all__ = ["mapping_to_json", "rights_text"]


def rights_text(one: SegmentMapping) -> str:
    """Return "rwx", "r-x", "rw-" or "r--" for a segment that is mapped as a whole alike, else what is how."""
    if not one.mapped:
        return "not mapped"
    alike = one.mapped == one.size and one.writable in (0, one.size) and one.executable in (0, one.size)
    if alike:
        return f"r{'w' if one.writable else '-'}{'x' if one.executable else '-'}"
    parts = [
        f"{size_text(count)} {word}"
        for word, count in (
            ("not mapped", one.size - one.mapped),
            ("writable", one.writable),
            ("executable", one.executable),
            ("both at once", one.both),
        )
        if count
    ]
    return ", ".join(parts) or "r--"


def mapping_to_json(one: SegmentMapping) -> dict[str, Json]:
    """Return a segment's mapping; counts are in bytes."""
    return {
        "address": one.address,
        "size": one.size,
        "linked": one.linked,
        "mapped": one.mapped,
        "writable": one.writable,
        "executable": one.executable,
        "both": one.both,
    }
