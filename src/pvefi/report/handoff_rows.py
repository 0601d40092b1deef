# SPDX-License-Identifier: GPL-2.0-or-later
"""The fields of two hand-offs beside each other: path, proof, registers, what was given, EFI's tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from pvefi.layout import Guid
from pvefi.report.boot_document import HandoffDocument, InitrdDocument, ProofDocument
from pvefi.report.handoff_row import ELSEWHERE, LEFT_OVER, Places, Row, address_row, number_row
from pvefi.report.mapping import rights_text
from pvefi.report.registers import bit_names
from pvefi.spec.uefi import guids
from pvefi.spec.uefi.guids import guid_name
from pvefi.trace.spelling import escaped, spell
from pvefi.trace.values import Json

__all__ = [
    "given_rows",
    "mapping_rows",
    "path_rows",
    "proof_rows",
    "register_rows",
    "setup_data_rows",
    "table_rows",
]

_KASLR = "KASLR"
_TABLES = "configuration tables"
_PATH_MEANINGS: Mapping[str, str] = MappingProxyType(
    {
        "decompressor": "the decompressor in the image: entered or bypassed",
        "kernel_start": "where the kernel proper was entered",
        "kernel_entry": "address at which it was entered",
    }
)
_REGISTER_MEANINGS: Mapping[str, str] = MappingProxyType(
    {
        "rip": "next instruction",
        "rsi": "address of boot_params",
        "rsp": "stack",
        "cr2": "address of the last page fault",
        "cr3": "page tables",
        "cs": "code segment",
        "ds": "data segment",
        "es": "data segment",
        "fs": "data segment",
        "gs": "data segment",
        "ss": "stack segment",
        "rflags": "flags",
        "cr0": "paging and protection",
        "cr4": "extensions",
        "efer": "long mode",
    }
)
_TABLE_MEANINGS: Mapping[Guid, str] = MappingProxyType(
    {
        guids.ACPI_20_TABLE: "ACPI root pointer, revision 2",
        guids.ACPI_TABLE: "ACPI root pointer, revision 0",
        guids.SMBIOS_TABLE: "SMBIOS, 32-bit entry",
        guids.SMBIOS3_TABLE: "SMBIOS, 64-bit entry",
        guids.RT_PROPERTIES_TABLE: "runtime services on offer",
        guids.MEMORY_ATTRIBUTES_TABLE: "protection of runtime memory",
        guids.PVEFI_HYPERVISOR_INFORMATION: "which hypervisor this is",
        guids.LINUX_RANDOM_SEED: "seed from Linux's EFI stub",
        guids.LINUX_BOOT_MEMMAP: "memory map from Linux's EFI stub",
        guids.LINUX_SCREEN_INFO: "screen_info from Linux's EFI stub",
    }
)


def path_rows(a: HandoffDocument, b: HandoffDocument, places: Places) -> Iterator[Row]:
    """Yield the facts of the path; one that is an address tells what stands there."""
    for name in dict.fromkeys([*a.path, *b.path]):
        one, two = a.path.get(name), b.path.get(name)
        meaning = _PATH_MEANINGS.get(name, "")
        if isinstance(one, str) or isinstance(two, str):
            texts = ["not told" if value is None else escaped(str(value)) for value in (one, two)]
            yield Row("path", name, (one, two), (texts[0], texts[1]), meaning)
        else:
            yield address_row("path", name, (one, two), places, meaning)


def proof_rows(a: HandoffDocument, b: HandoffDocument, _places: Places) -> Iterator[Row]:
    """Yield where the kernel proper stands, and its code."""
    one, two = a.proof, b.proof
    same = (one.linked_address, one.expected) == (two.linked_address, two.expected)
    slid = _KASLR if same else ""

    def number(name: str, meaning: str, moved: str = "") -> Row:
        values: tuple[int | None, int | None] = getattr(one, name), getattr(two, name)
        return number_row("proof", name, values, meaning, moved=moved)

    yield number("address", "where the kernel proper stands", slid)
    yield number("linked_address", "where it was linked to stand")
    yield number("slide", "by how much it was moved", slid)
    yield number("virtual_slide", "by how much its virtual addresses were; not told where none shows", slid)
    yield number("file_offset", "where the code is in the vmlinux")
    hexes = one.expected.hex(), two.expected.hex()
    yield Row("proof", "expected", hexes, hexes, "code in the vmlinux")
    found = one.found.hex(), two.found.hex()
    told = _relocated(one), _relocated(two)
    if slid and all(told):
        yield Row("proof", "found", found, told, "code in memory", slid)
    else:
        yield Row("proof", "found", found, found, "code in memory")


def _relocated(proof: ProofDocument) -> str:
    """Return in what the code in memory differs from that of the vmlinux; '' when it is other code."""
    if proof.found == proof.expected:
        return "as linked"
    if not proof.virtual_slide or len(proof.found) != len(proof.expected):
        return ""
    return f"linked + {proof.virtual_slide:#x}"


def mapping_rows(a: HandoffDocument, b: HandoffDocument, _places: Places) -> Iterator[Row]:
    """Yield what the kernel may do with each of its segments."""
    for at in range(max(len(a.mapping), len(b.mapping))):
        both = [side.mapping[at] if at < len(side.mapping) else None for side in (a, b)]
        texts = ["not told" if one is None else rights_text(one) for one in both]
        linked = {one.linked for one in both if one is not None}
        meaning = f"what the page tables allow; linked {escaped(' or '.join(sorted(linked)))}"
        yield Row("mapping", f"segment {at}", (texts[0], texts[1]), (texts[0], texts[1]), meaning)


def setup_data_rows(a: HandoffDocument, b: HandoffDocument, _places: Places) -> Iterator[Row]:
    """Yield which nodes the setup_data list has."""
    texts = [" ".join(spell(one) for one in side.setup_data) or "none" for side in (a, b)]
    values: list[Json] = [[int(one) for one in side.setup_data] for side in (a, b)]
    meaning = "types of the nodes that extend boot_params"
    yield Row("setup_data", "nodes", (values[0], values[1]), (texts[0], texts[1]), meaning)


def register_rows(a: HandoffDocument, b: HandoffDocument, places: Places) -> Iterator[Row]:
    """Yield the registers; those that consist of bits name the bits that one side has."""
    for name in dict.fromkeys([*a.registers, *b.registers]):
        values = a.registers.get(name), b.registers.get(name)
        meaning = _REGISTER_MEANINGS.get(name, "")
        if bits := _bit_differences(name, *values):
            yield number_row("registers", name, values, meaning, apart=bits)
            continue
        row = address_row("registers", name, values, places, meaning)
        yield row if row.explained or row.moved else replace(row, meaning=LEFT_OVER)


def _bit_differences(name: str, a: int | None, b: int | None) -> str:
    if a is None or b is None:
        return ""
    only = ("A", bit_names(name, a & ~b)), ("B", bit_names(name, b & ~a))
    return ", ".join(f"{side} has {' '.join(bits)}" for side, bits in only if bits)


def given_rows(a: HandoffDocument, b: HandoffDocument, _places: Places) -> Iterator[Row]:
    """Yield command line and initrd."""
    lines = [escaped(side.command_line) or "none" for side in (a, b)]
    values: tuple[Json, Json] = a.command_line, b.command_line
    yield Row("given", "command_line", values, (lines[0], lines[1]), "the kernel's command line")
    yield from _initrd_rows(a.initrd, b.initrd)


def _initrd_rows(a: InitrdDocument | None, b: InitrdDocument | None) -> Iterator[Row]:
    if a is None or b is None:
        sizes = [initrd.size if initrd else None for initrd in (a, b)]
        texts = ["none" if size is None else f"{size:,} bytes" for size in sizes]
        yield Row("given", "initrd", (sizes[0], sizes[1]), (texts[0], texts[1]), "initial ramdisk")
        return
    moved = ELSEWHERE if a.sha256 == b.sha256 else ""
    addresses = a.address, b.address
    yield number_row("given", "initrd.address", addresses, "where the initrd is", moved=moved)
    yield Row("given", "initrd.size", (a.size, b.size), (f"{a.size:,}", f"{b.size:,}"), "bytes of it")
    hashes = escaped(a.sha256), escaped(b.sha256)
    yield Row("given", "initrd.sha256", (a.sha256, b.sha256), hashes, "of its bytes in memory")


def table_rows(a: HandoffDocument, b: HandoffDocument, places: Places) -> Iterator[Row]:
    """Yield EFI's configuration tables, those of one GUID by their order; one row where a side has none."""
    sides = [_numbered(side.tables) for side in (a, b)]
    if not all(sides):
        if any(sides):
            names: list[list[Json]] = [[guid_name(guid) for guid, _ in side] for side in sides]
            texts = [", ".join(map(str, some)) or "none" for some in names]
            yield Row(_TABLES, "(all)", (names[0], names[1]), (texts[0], texts[1]))
        return
    for key in dict.fromkeys([*sides[0], *sides[1]]):
        values = sides[0].get(key), sides[1].get(key)
        meaning = _TABLE_MEANINGS.get(key[0], "")
        yield address_row(_TABLES, guid_name(key[0]), values, places, meaning, moved=ELSEWHERE, absent="none")


def _numbered(tables: Sequence[tuple[Guid, int]]) -> dict[tuple[Guid, int], int]:
    """Return the addresses by GUID and which of that GUID."""
    numbered: dict[tuple[Guid, int], int] = {}
    for guid, address in tables:
        at = 0
        while (guid, at) in numbered:
            at += 1
        numbered[guid, at] = address
    return numbered
