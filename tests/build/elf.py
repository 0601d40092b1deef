# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds ELF kernels with notes from keywords; every header field can be overridden."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

ELF64_FIELDS = {
    "ident": "16s",
    "type": "H",
    "machine": "H",
    "version": "I",
    "entry": "Q",
    "program_offset": "Q",
    "section_offset": "Q",
    "flags": "I",
    "header_size": "H",
    "program_header_size": "H",
    "program_count": "H",
    "section_header_size": "H",
    "section_count": "H",
    "section_names": "H",
}
ELF32_FIELDS = {**ELF64_FIELDS, "entry": "I", "program_offset": "I", "section_offset": "I"}
PROGRAM64_FIELDS = {
    "type": "I",
    "flags": "I",
    "offset": "Q",
    "virtual_address": "Q",
    "physical_address": "Q",
    "file_size": "Q",
    "memory_size": "Q",
    "alignment": "Q",
}
PROGRAM32_FIELDS = {
    "type": "I",
    "offset": "I",
    "virtual_address": "I",
    "physical_address": "I",
    "file_size": "I",
    "memory_size": "I",
    "flags": "I",
    "alignment": "I",
}

X86_64 = 62
I386 = 3
EXEC = 2
LOAD = 1
INTERP = 3
NOTE = 4

PHYSICAL = 0x1000000
VIRTUAL = 0xFFFFFFFF81000000
CODE = bytes(range(256)) * 2
XEN_ENTRY, XEN_GUEST_OS, XEN_PHYS32_ENTRY, XEN_PHYS32_RELOC = 1, 6, 18, 19


@dataclass(frozen=True)
class Load:
    """One PT_LOAD; `memory_size` defaults to the data's."""

    data: bytes = CODE
    physical_address: int = PHYSICAL
    virtual_address: int = VIRTUAL
    memory_size: int | None = None


def note(name: str, kind: int, description: bytes, alignment: int = 4) -> bytes:
    """Return one ELF note."""
    owner = name.encode() + b"\0"
    head = struct.pack("<3I", len(owner), len(description), kind) + owner
    head += bytes(-len(head) % alignment)
    return head + description + bytes(-len(description) % alignment)


def linux_notes(pvh: int | None = PHYSICAL + 0x50, xen_pv: int | None = VIRTUAL + 0x1C0) -> bytes:
    """Return the notes that tell a Linux kernel with PVH and Xen PV entries."""
    notes = note("Linux", 0x100, b"6.1.0-test\0") + note("GNU", 3, bytes(range(20)))
    notes += note("Xen", XEN_GUEST_OS, b"linux\0")
    if xen_pv is not None:
        notes += note("Xen", XEN_ENTRY, struct.pack("<Q", xen_pv))
    if pvh is not None:
        notes += note("Xen", XEN_PHYS32_ENTRY, struct.pack("<I", pvh))
    return notes


def build_elf(
    loads: Sequence[Load] = (Load(),),
    notes: bytes | None = None,
    *,
    bits: int = 64,
    entry: int = PHYSICAL,
    note_alignment: int = 4,
    interpreter: bool = False,
    filler: int = 0,
    program: dict[str, int] | None = None,
    **fields: Any,
) -> bytes:
    """Return an ELF kernel.

    `fields` are ELF64_FIELDS, `program` overrides fields of the first program header, `filler` zero bytes
    stand before the notes.
    """
    header_fields, program_fields = (
        (ELF64_FIELDS, PROGRAM64_FIELDS) if bits == 64 else (ELF32_FIELDS, PROGRAM32_FIELDS)
    )
    header_code = "<" + "".join(header_fields.values())
    program_code = "<" + "".join(program_fields.values())
    notes = linux_notes() if notes is None else notes
    count = len(loads) + bool(notes) + interpreter
    offset = struct.calcsize(header_code) + count * struct.calcsize(program_code)
    body = b""
    programs: list[dict[str, int]] = []
    for load in loads:
        programs.append(
            {
                "type": LOAD,
                "flags": 5,
                "offset": offset + len(body),
                "virtual_address": load.virtual_address & (1 << bits) - 1,
                "physical_address": load.physical_address,
                "file_size": len(load.data),
                "memory_size": len(load.data) if load.memory_size is None else load.memory_size,
                "alignment": 0x200000,
            }
        )
        body += load.data
    body += bytes(filler)
    if interpreter:
        programs.append(dict.fromkeys(program_fields, 0) | {"type": INTERP})
    if notes:
        programs.append(
            dict.fromkeys(program_fields, 0)
            | {
                "type": NOTE,
                "offset": offset + len(body),
                "file_size": len(notes),
                "memory_size": len(notes),
                "alignment": note_alignment,
            }
        )
        body += notes
    if programs:
        programs[0] |= program or {}
    values: dict[str, Any] = {
        "ident": b"\x7fELF" + bytes([2 if bits == 64 else 1, 1, 1]) + bytes(9),
        "type": EXEC,
        "machine": X86_64 if bits == 64 else I386,
        "version": 1,
        "entry": entry,
        "program_offset": struct.calcsize(header_code),
        "section_offset": 0,
        "flags": 0,
        "header_size": struct.calcsize(header_code),
        "program_header_size": struct.calcsize(program_code),
        "program_count": len(programs),
        "section_header_size": 0,
        "section_count": 0,
        "section_names": 0,
    } | fields
    header = struct.pack(header_code, *(values[name] for name in header_fields))
    table = b"".join(struct.pack(program_code, *(p[name] for name in program_fields)) for p in programs)
    return header + table + body
