# SPDX-License-Identifier: GPL-2.0-or-later
"""What `pvefi inspect` prints of an image: lines that can be pasted into a mail.

Numbers are hexadecimal here; programs read `inspect_json`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import IntFlag
from types import MappingProxyType

from rich.text import Text

from pvefi.image.bzimage import BzImage
from pvefi.image.model import AddressKind, Decompressor, Entry, Image
from pvefi.image.notes import Note
from pvefi.image.payload import Payload
from pvefi.image.pe import PeImage
from pvefi.image.vmlinux import Vmlinux
from pvefi.report.text import Fact, fact_lines, section, size_text
from pvefi.spec.pe import SectionCharacteristic
from pvefi.spec.xen.elfnote import XenElfNote, feature_names
from pvefi.trace.columns import Cell, columns
from pvefi.trace.spelling import escaped

__all__ = ["flag_names", "image_lines"]

_CODE_SHOWN = 16
_TEXT_SHOWN = 100
_ADDRESS_KINDS: Mapping[AddressKind, str] = MappingProxyType(
    {
        AddressKind.RVA: "RVA",
        AddressKind.LOAD_OFFSET: "from the loaded kernel's start",
        AddressKind.SETUP_OFFSET: "from the loaded setup code's start",
        AddressKind.PHYSICAL: "physical address",
        AddressKind.VIRTUAL: "virtual address",
    }
)
_DECOMPRESSORS: Mapping[Decompressor, str] = MappingProxyType(
    {
        Decompressor.ENTERED: "entered",
        Decompressor.BYPASSED: "bypassed",
        Decompressor.UNTOLD: "known only by running it",
        Decompressor.NONE: "none in this image",
    }
)
_PERMISSIONS = (
    (SectionCharacteristic.MEM_READ, "r"),
    (SectionCharacteristic.MEM_WRITE, "w"),
    (SectionCharacteristic.MEM_EXECUTE, "x"),
)


def flag_names(flags: IntFlag) -> list[str]:
    """Return the names of the bits that are set; bits without a name as one last hexadecimal number."""
    members = [member for member in type(flags) if member in flags]
    rest = flags.value & ~sum(member.value for member in members)
    names = [member.name or f"{member.value:#x}" for member in members]
    return [*names, f"{rest:#x}"] if rest else names


def image_lines(image: Image) -> list[Text]:
    """Return all that is known of `image`, its entries first."""
    lines = [Text(f"{escaped(str(image.path))}: ", "bold").append(image.kind)]
    lines += fact_lines(_facts(image))
    lines += section("Entries", [*_entry_rows(image.entries), *_remarks(image.entries)])
    lines += section("State demanded", _demand_rows(image.entries))
    if image.pe is not None:
        lines += section("PE header", fact_lines(_pe_facts(image.pe)))
        lines += section("PE sections", _section_rows(image.pe))
    if image.bzimage is not None:
        lines += section("Setup header", _setup_rows(image.bzimage))
    if image.vmlinux is not None:
        lines += section("Kernel proper (vmlinux)", fact_lines(_vmlinux_facts(image.vmlinux)))
        lines += section("Load segments", _segment_rows(image.vmlinux))
        lines += section("ELF notes", _note_rows(image.vmlinux))
    return lines


def _facts(image: Image) -> Iterator[Fact]:
    if image.bzimage is not None and image.bzimage.kernel_version:
        yield "version", [escaped(image.bzimage.kernel_version)]
    yield "size", [f"{image.size} bytes ({size_text(image.size)})"]
    yield "sha256", [image.sha256]
    if image.payload is not None:
        yield "payload", [_payload(image.payload)]


def _payload(payload: Payload) -> str:
    unpacked = "" if payload.compression == "none" else f", {payload.uncompressed_size:#x} uncompressed"
    return f"{payload.compression}, {payload.size:#x} bytes at file offset {payload.offset:#x}{unpacked}"


def _entry_rows(entries: tuple[Entry, ...]) -> list[Text]:
    if not entries:
        return [Text("  none that pvefi knows")]
    head: list[Cell] = [
        Text(title, "dim")
        for title in ("entry", "mode", "address", "", "file offset", "decompressor", "kernel proper")
    ]
    rows: list[list[Cell]] = [head]
    rows += [
        [
            str(entry.kind),
            f"{entry.bits}-bit",
            f"{entry.address:#x}",
            _ADDRESS_KINDS[entry.address_kind],
            f"{entry.file_offset:#x}" if entry.file_offset is not None else "-",
            _DECOMPRESSORS[entry.decompressor],
            entry.kernel_entry or "-",
        ]
        for entry in entries
    ]
    return columns(rows, "<<><><<", gap=2, indent=2)


def _remarks(entries: tuple[Entry, ...]) -> list[Text]:
    """Return each remark once, after the names of the entries that it is about."""
    about: dict[str, list[str]] = {}
    for entry in entries:
        names = about.setdefault(entry.remark, [])
        if str(entry.kind) not in names:
            names.append(str(entry.kind))
    return [Text(f"  {', '.join(names)}: {remark}", "italic") for remark, names in about.items() if remark]


def _demand_rows(entries: tuple[Entry, ...]) -> list[Text]:
    rows: list[list[Cell]] = []
    for entry in entries:
        lines: list[Cell] = [*entry.demands, Text(entry.source, "dim")]
        rows.append([str(entry.kind), Text(f"{entry.bits}-bit", "dim"), lines[0]])
        rows += [["", "", line] for line in lines[1:]]
    return columns(rows, "<<<", gap=2, indent=2)


def _pe_facts(pe: PeImage) -> Iterator[Fact]:
    yield "machine", [f"{pe.machine.name} ({int(pe.machine):#x}), {pe.magic.name.replace('_PLUS', '+')}"]
    yield "subsystem", [f"{pe.subsystem.name} ({int(pe.subsystem)})"]
    yield "entry", [f"RVA {pe.entry_rva:#x}"]
    yield "image base", [f"{pe.image_base:#x}, {_relocation_text(pe)}"]
    yield "image size", [f"{pe.size_of_image:#x} ({size_text(pe.size_of_image)})"]
    yield "header size", [f"{pe.size_of_headers:#x}"]
    yield "alignment", [f"sections {pe.section_alignment:#x}, file {pe.file_alignment:#x}"]
    yield "flags", [" ".join(flag_names(pe.characteristics)) or "none"]
    yield "dll flags", [" ".join(flag_names(pe.dll_characteristics)) or "none (not NX_COMPAT)"]
    for which, address, size in pe.directories:
        yield f"{which.name.lower()}", [f"{address:#x}, {size:#x} bytes"]
    for compat in pe.compat:
        yield ".compat", [f"entry for {compat.machine.name}: RVA {compat.entry_rva:#x}"]


def _relocation_text(pe: PeImage) -> str:
    _, size = pe.relocation_table
    if not pe.relocatable:
        return "runs only there (relocations stripped)"
    return f"{size:#x} bytes of relocations" if size else "runs anywhere without relocations"


def _section_rows(pe: PeImage) -> list[Text]:
    titles = ("name", "RVA", "virtual size", "file offset", "raw size", "", "flags")
    rows: list[list[Cell]] = [[Text(title, "dim") for title in titles]]
    for s in pe.sections:
        permissions = "".join(letter if flag in s.characteristics else "-" for flag, letter in _PERMISSIONS)
        others = s.characteristics & ~(_PERMISSIONS[0][0] | _PERMISSIONS[1][0] | _PERMISSIONS[2][0])
        rows.append(
            [
                escaped(s.name),
                f"{s.virtual_address:#x}",
                f"{s.virtual_size:#x}",
                f"{s.raw_offset:#x}",
                f"{s.raw_size:#x}",
                permissions,
                " ".join(_section_flags(others)),
            ]
        )
    return columns(rows, "<>>>><<", gap=2, indent=2)


def _section_flags(flags: SectionCharacteristic) -> list[str]:
    alignment = flags & SectionCharacteristic.ALIGN_MASK
    names = flag_names(flags & ~SectionCharacteristic.ALIGN_MASK)
    return [*names, f"ALIGN_{1 << ((alignment >> 20) - 1)}"] if alignment else names


def _setup_rows(bzimage: BzImage) -> list[Text]:
    told = {
        "loadflags": " ".join(flag_names(bzimage.load_flags)),
        "xloadflags": " ".join(flag_names(bzimage.xload_flags)),
        "version": bzimage.protocol_name,
        "header": "HdrS",
        "kernel_version": escaped(bzimage.kernel_version),
        "init_size": size_text(bzimage.header.init_size),
        "setup_sects": f"{size_text(bzimage.setup_size)} with the boot sector",
        "syssize": size_text(bzimage.header.syssize * 16),
        "kernel_alignment": size_text(bzimage.header.kernel_alignment),
        "min_alignment": f"2^{bzimage.header.min_alignment}" if bzimage.header.min_alignment else "",
        "cmdline_size": f"{bzimage.header.cmdline_size} characters",
        "kernel_info_offset": f"setup_type_max {bzimage.kernel_info.setup_type_max:#x}"
        if bzimage.kernel_info is not None
        else "",
    }
    rows: list[list[Cell]] = [
        [name, f"{value:#x}", told.get(name, "")] for name, value in bzimage.fields().items()
    ]
    return columns(rows, "<><", gap=2, indent=2)


def _vmlinux_facts(vmlinux: Vmlinux) -> Iterator[Fact]:
    bits = 64 if vmlinux.is_64bit else 32
    yield "ELF", [f"{bits}-bit {vmlinux.type.name}, {vmlinux.machine.name}"]
    code = vmlinux.entry_code
    yield "e_entry", [f"{vmlinux.e_entry:#x}"]
    if code is not None:
        yield (
            "code there",
            [
                code.data[:_CODE_SHOWN].hex(" "),
                f"{code.segment_offset:#x} into load segment {code.segment_index}, "
                f"physical {code.physical_address:#x}",
            ],
        )


def _segment_rows(vmlinux: Vmlinux) -> list[Text]:
    titles = ("file offset", "virtual", "physical", "file size", "memory size", "")
    rows: list[list[Cell]] = [[Text(title, "dim") for title in titles]]
    for load in vmlinux.load_segments:
        rows.append(
            [
                f"{load.file_offset:#x}",
                f"{load.virtual_address:#x}",
                f"{load.physical_address:#x}",
                f"{load.file_size:#x}",
                f"{load.memory_size:#x}",
                load.permissions,
            ]
        )
    return columns(rows, ">>>>><", gap=2, indent=2)


def _note_rows(vmlinux: Vmlinux) -> list[Text]:
    rows = [[escaped(note.owner), escaped(note.name), _note_text(note)] for note in vmlinux.notes]
    return columns(rows, "<<<", gap=2, indent=2)


def _note_text(note: Note) -> str:
    match note.value:
        case int(number):
            names = feature_names(number) if note.is_xen(XenElfNote.SUPPORTED_FEATURES) else []
            return f"{number:#x}" + (f" ({'|'.join(names)})" if names else "")
        case str(text):
            return f'"{escaped(text[:_TEXT_SHOWN])}"' + ("..." if len(text) > _TEXT_SHOWN else "")
        case tuple(numbers):
            return " ".join(f"{number:#x}" for number in numbers)
        case data:
            return data[: _TEXT_SHOWN // 2].hex() + ("..." if len(data) > _TEXT_SHOWN // 2 else "")
