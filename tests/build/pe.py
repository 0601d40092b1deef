# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds PE/COFF files from keywords, so that corrupting one field is one argument.

Every header field is a keyword with a sound value by default; `build_pe(size_of_image=0xFFFFFFFF)` is a file
that is sound but for that.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

HEADER_SIZE = 0x400
ALIGNMENT = 0x200
PAGE = 0x1000

DOS_FIELDS = {"e_magic": "2s", "dos_pad": "58s", "e_lfanew": "I"}
COFF_FIELDS = {
    "signature": "4s",
    "machine": "H",
    "number_of_sections": "H",
    "time_date_stamp": "I",
    "pointer_to_symbol_table": "I",
    "number_of_symbols": "I",
    "size_of_optional_header": "H",
    "characteristics": "H",
}
OPTIONAL_FIELDS = {
    "magic": "H",
    "linker_version": "H",
    "size_of_code": "I",
    "size_of_initialized_data": "I",
    "size_of_uninitialized_data": "I",
    "address_of_entry_point": "I",
    "base_of_code": "I",
    "image_base": "Q",
    "section_alignment": "I",
    "file_alignment": "I",
    "operating_system_version": "I",
    "image_version": "I",
    "subsystem_version": "I",
    "win32_version_value": "I",
    "size_of_image": "I",
    "size_of_headers": "I",
    "check_sum": "I",
    "subsystem": "H",
    "dll_characteristics": "H",
    "size_of_stack_reserve": "Q",
    "size_of_stack_commit": "Q",
    "size_of_heap_reserve": "Q",
    "size_of_heap_commit": "Q",
    "loader_flags": "I",
    "number_of_rva_and_sizes": "I",
}
DIRECTORIES = ("export", "import", "resource", "exception", "security", "basereloc")
DIRECTORY_FIELDS = {f"{name}_{part}": "I" for name in DIRECTORIES for part in ("address", "size")}
HEADER_FIELDS = {**DOS_FIELDS, **COFF_FIELDS, **OPTIONAL_FIELDS, **DIRECTORY_FIELDS}
SECTION_FIELDS = {
    "name": "8s",
    "virtual_size": "I",
    "virtual_address": "I",
    "raw_size": "I",
    "raw_offset": "I",
    "relocations_and_lines": "12s",
    "characteristics": "I",
}

CODE = b"\x31\xc0\xc3" + bytes(0x1FD)  # xor eax, eax; ret


@dataclass(frozen=True)
class PeSection:
    """One section; whatever is None is laid out soundly."""

    name: bytes = b".text"
    data: bytes = CODE
    characteristics: int = 0x60000020
    virtual_address: int | None = None
    virtual_size: int | None = None
    raw_offset: int | None = None
    raw_size: int | None = None
    relocations_and_lines: bytes = bytes(12)


def relocation_block(page: int, *entries: tuple[int, int], size: int | None = None) -> bytes:
    """Return one base relocation block; entries are (type, offset in the page)."""
    words = [kind << 12 | offset for kind, offset in entries]
    size = 8 + 2 * len(words) if size is None else size
    return struct.pack(f"<II{len(words)}H", page, size, *words)


def compat_section(machine: int = 0x14C, entry: int = PAGE, size: int = 8, kind: int = 1) -> PeSection:
    """Return a `.compat` section with one entry, as Linux has it."""
    return PeSection(
        b".compat", struct.pack("<BBHI", kind, size, machine, entry).ljust(ALIGNMENT, b"\0"), 0x42000040
    )


def reloc_section(blocks: bytes) -> PeSection:
    """Return a `.reloc` section; its directory is found by `build_pe` by its name."""
    return PeSection(b".reloc", blocks, 0x42000040)


def _up(value: int, step: int) -> int:
    return (value + step - 1) // step * step


def _defaults(section: PeSection, address: int, offset: int) -> dict[str, Any]:
    padded = _up(len(section.data), ALIGNMENT)
    made = {
        "name": section.name,
        "virtual_size": len(section.data),
        "virtual_address": address,
        "raw_size": padded,
        "raw_offset": offset if padded else 0,
        "relocations_and_lines": section.relocations_and_lines,
        "characteristics": section.characteristics,
    }
    for name in ("virtual_size", "virtual_address", "raw_size", "raw_offset"):
        given = getattr(section, name)
        if given is not None:
            made[name] = given
    return made


def build_pe(
    sections: Sequence[PeSection] = (PeSection(),),
    *,
    lfanew: int = 0x40,
    header_size: int = HEADER_SIZE,
    length: int | None = None,
    **fields: Any,
) -> bytes:
    """Return a PE32+ EFI application for x86-64; `fields` are HEADER_FIELDS, `length` cuts the file."""
    address, offset = PAGE, header_size
    laid: list[tuple[dict[str, Any], bytes]] = []
    for section in sections:
        made = _defaults(section, address, offset)
        laid.append((made, section.data))
        address = _up(address + max(made["virtual_size"], 1), PAGE) & 0xFFFFFFFF
        offset += _up(len(section.data), ALIGNMENT)
    reloc = next((made for made, _ in laid if made["name"] == b".reloc"), None)
    size_of_optional = struct.calcsize("<" + "".join({**OPTIONAL_FIELDS, **DIRECTORY_FIELDS}.values()))
    values: dict[str, Any] = dict.fromkeys(HEADER_FIELDS, 0)
    values |= {
        "e_magic": b"MZ",
        "dos_pad": bytes(58),
        "e_lfanew": lfanew,
        "signature": b"PE\0\0",
        "machine": 0x8664,
        "number_of_sections": len(laid),
        "size_of_optional_header": size_of_optional,
        "characteristics": 0x0206,
        "magic": 0x20B,
        "address_of_entry_point": PAGE,
        "section_alignment": PAGE,
        "file_alignment": ALIGNMENT,
        "size_of_image": address,
        "size_of_headers": header_size,
        "subsystem": 10,
        "number_of_rva_and_sizes": len(DIRECTORIES),
        "basereloc_address": reloc["virtual_address"] if reloc else 0,
        "basereloc_size": reloc["virtual_size"] if reloc else 0,
    }
    values |= fields
    dos = struct.pack("<" + "".join(DOS_FIELDS.values()), *(values[name] for name in DOS_FIELDS))
    rest = {**COFF_FIELDS, **OPTIONAL_FIELDS, **DIRECTORY_FIELDS}
    header = struct.pack("<" + "".join(rest.values()), *(values[name] for name in rest))
    table = b"".join(
        struct.pack("<" + "".join(SECTION_FIELDS.values()), *(made[name] for name in SECTION_FIELDS))
        for made, _ in laid
    )
    image = bytearray(max(offset, header_size))
    image[: len(dos)] = dos
    image[lfanew : lfanew + len(header) + len(table)] = header + table
    at = header_size
    for _, data in laid:
        image[at : at + len(data)] = data
        at += _up(len(data), ALIGNMENT)
    return bytes(image if length is None else image[:length])
