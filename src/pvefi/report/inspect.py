# SPDX-License-Identifier: GPL-2.0-or-later
"""What `pvefi inspect` prints of an image: lines that can be pasted into a mail.

Numbers are hexadecimal here; programs read `inspect_json`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from rich.text import Text

from pvefi.image.model import AddressKind, Decompressor, Entry, Image
from pvefi.image.payload import Payload
from pvefi.report.inspect_kernel import kernel_lines
from pvefi.report.inspect_names import flag_names
from pvefi.report.inspect_pe import pe_lines
from pvefi.report.text import Fact, fact_lines, section, size_text
from pvefi.trace.columns import Cell, columns
from pvefi.trace.spelling import escaped

__all__ = ["flag_names", "image_lines"]

_ENTRIES_WIDTH = 100  # a mail's, also where nothing else limits it
_SPARE = (3, 5, 1)  # columns that a narrow terminal has no room for, in this order
_NAME_WIDTH = 14  # "then startup_64"; a name of its own is shorter
_ADDRESS_KINDS: Mapping[AddressKind, str] = MappingProxyType(
    {
        AddressKind.RVA: "RVA",
        AddressKind.LOAD_OFFSET: "loaded kernel +",
        AddressKind.SETUP_OFFSET: "loaded setup +",
        AddressKind.PHYSICAL: "physical",
        AddressKind.VIRTUAL: "virtual",
    }
)
_DECOMPRESSORS: Mapping[Decompressor, str] = MappingProxyType(
    {
        Decompressor.ENTERED: "entered",
        Decompressor.BYPASSED: "bypassed",
        Decompressor.UNTOLD: "not told",
        Decompressor.NONE: "none here",
    }
)


def image_lines(image: Image, width: int | None = None) -> list[Text]:
    """Return all that is known of `image`, its entries first; tables are made to fit `width`."""
    name = f"{image.path}, {image.inside}" if image.inside else f"{image.path}"
    lines = [Text(f"{escaped(name)}: ", "bold").append(image.kind)]
    lines += fact_lines(_facts(image), width)
    lines += section("Entries", [*_entry_rows(image.entries, width), *_remarks(image.entries)])
    lines += section("State demanded", _demand_rows(image.entries, width))
    lines += pe_lines(image)
    lines += kernel_lines(image)
    for inner in image.embedded:
        lines += [Text(), *image_lines(inner, width)]
    return lines


def _facts(image: Image) -> Iterator[Fact]:
    if image.bzimage is not None and image.bzimage.kernel_version:
        yield "version", [escaped(image.bzimage.kernel_version)]
    yield "size", [f"{image.size} bytes ({size_text(image.size)})"]
    yield "sha256", [image.sha256 or "not known: only its start was decompressed"]
    if image.wrapper is not None:
        size = image.wrapper.uncompressed_size
        yield "compressed", [f"{image.wrapper.compression}, {size:#x} bytes ({size_text(size)}) uncompressed"]
    if image.payload is not None:
        yield "payload", [_payload(image.payload)]


def _payload(payload: Payload) -> str:
    unpacked = "" if payload.compression == "none" else f", {payload.uncompressed_size:#x} uncompressed"
    return f"{payload.compression}, {payload.size:#x} bytes at file offset {payload.offset:#x}{unpacked}"


def _entry_rows(entries: tuple[Entry, ...], width: int | None) -> list[Text]:
    if not entries:
        return [Text("  none that pvefi knows")]
    titles = ("entry", "mode", "address", "file offset", "decompressor", "kernel proper")
    rows: list[list[Cell]] = [[Text(title, "dim") for title in titles]]
    rows += [
        [
            str(entry.kind),
            f"{entry.bits}-bit",
            f"{_ADDRESS_KINDS[entry.address_kind]} {entry.address:#x}",
            f"{entry.file_offset:#x}" if entry.file_offset is not None else "-",
            _DECOMPRESSORS[entry.decompressor],
            entry.kernel_entry or "-",
        ]
        for entry in entries
    ]
    most = _ENTRIES_WIDTH if width is None else min(width, _ENTRIES_WIDTH)
    return columns(rows, "<<<><<", gap=2, indent=2, width=most, spare=_SPARE, least=_NAME_WIDTH)


def _remarks(entries: tuple[Entry, ...]) -> list[Text]:
    """Return each remark once, after the names of the entries that it is about."""
    about: dict[str, list[str]] = {}
    for entry in entries:
        names = about.setdefault(entry.remark, [])
        if str(entry.kind) not in names:
            names.append(str(entry.kind))
    return [Text(f"  {', '.join(names)}: {remark}", "italic") for remark, names in about.items() if remark]


def _demand_rows(entries: tuple[Entry, ...], width: int | None) -> list[Text]:
    rows: list[list[Cell]] = []
    for entry in entries:
        lines: list[Cell] = [*entry.demands, Text(entry.source, "dim")]
        rows.append([str(entry.kind), Text(f"{entry.bits}-bit", "dim"), lines[0]])
        rows += [["", "", line] for line in lines[1:]]
    return columns(rows, "<<<", gap=2, indent=2, width=width)
