# SPDX-License-Identifier: GPL-2.0-or-later
"""What `pvefi inspect` prints of a PE image: headers, sections, SBAT lines, signatures, resources."""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text

from pvefi.image.model import Image
from pvefi.image.pe import PeImage
from pvefi.image.signatures import Signature
from pvefi.image.uki import Unified, UnifiedResource
from pvefi.report.inspect_names import enum_name, flag_names, section_flags
from pvefi.report.text import Fact, fact_lines, section, size_text
from pvefi.spec.pe import SectionCharacteristic
from pvefi.spec.uki import Resource
from pvefi.trace.columns import Cell, columns
from pvefi.trace.spelling import escaped

__all__ = ["pe_lines"]

_TEXT_SHOWN = 100
_PERMISSIONS = (
    (SectionCharacteristic.MEM_READ, "r"),
    (SectionCharacteristic.MEM_WRITE, "w"),
    (SectionCharacteristic.MEM_EXECUTE, "x"),
)


def pe_lines(image: Image) -> list[Text]:
    """Return what is known of the PE image that `image` is, if it is one."""
    if image.pe is None:
        return []
    lines = section("PE header", fact_lines(_facts(image.pe, image.relocation_count)))
    lines += section("PE sections", _section_rows(image.pe))
    if image.unified is not None:
        title = image.unified.kind.value
        lines += section(f"{title[0].upper()}{title[1:]}", _resource_rows(image.unified))
    lines += section("SBAT", _sbat_rows(image))
    lines += section("Signatures", _signature_lines(image.signatures))
    return lines


def _facts(pe: PeImage, relocation_count: int | None) -> Iterator[Fact]:
    yield "machine", [f"{pe.machine.name} ({int(pe.machine):#x}), {pe.magic.name.replace('_PLUS', '+')}"]
    yield "subsystem", [f"{pe.subsystem.name} ({int(pe.subsystem)})"]
    yield "entry", [f"RVA {pe.entry_rva:#x}"]
    yield "image base", [f"{pe.image_base:#x}, {_relocation_text(pe, relocation_count)}"]
    yield "image size", [f"{pe.size_of_image:#x} ({size_text(pe.size_of_image)})"]
    yield "header size", [f"{pe.size_of_headers:#x}"]
    yield "alignment", [f"sections {pe.section_alignment:#x}, file {pe.file_alignment:#x}"]
    yield "flags", [" ".join(flag_names(pe.characteristics)) or "none"]
    yield "dll flags", [" ".join(flag_names(pe.dll_characteristics)) or "none (not NX_COMPAT)"]
    for which, address, size in pe.directories:
        yield enum_name(which).lower(), [f"{address:#x}, {size:#x} bytes"]
    for compat in pe.compat:
        yield ".compat", [f"entry for {compat.machine.name}: RVA {compat.entry_rva:#x}"]


def _relocation_text(pe: PeImage, count: int | None) -> str:
    _, size = pe.relocation_table
    if not pe.relocatable:
        return "runs only there (relocations stripped)"
    if not count:
        return (
            f"{size:#x} bytes of relocations"
            if count is None and size
            else "runs anywhere without relocations"
        )
    return f"{count} relocations in {size:#x} bytes"


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
                " ".join(section_flags(others)),
            ]
        )
    return columns(rows, "<>>>><<", gap=2, indent=2)


def _resource_rows(unified: Unified) -> list[Text]:
    titles = ("section", "profile", "file offset", "size", "")
    rows: list[list[Cell]] = [[Text(title, "dim") for title in titles]]
    for resource in unified.resources:
        rows.append(
            [
                escaped(resource.name),
                "base" if resource.profile is None else f"@{resource.profile}",
                f"{resource.offset:#x}",
                f"{resource.size:#x}",
                _resource_text(resource),
            ]
        )
    return columns(rows, "<<>><", gap=2, indent=2)


def _resource_text(resource: UnifiedResource) -> str:
    match resource.kind:
        case Resource.KERNEL:
            return "see below" if resource.size else "empty"
        case Resource.SBAT:
            return "see SBAT"
        case Resource.BLOB:
            return f"SHA-256 {resource.sha256}"
    text = resource.text
    return escaped(text[:_TEXT_SHOWN]) + ("..." if len(text) > _TEXT_SHOWN else "")


def _sbat_rows(image: Image) -> list[Text]:
    rows: list[list[Cell]] = [
        [
            escaped(entry.component_name),
            "?" if entry.component_generation is None else str(entry.component_generation),
            escaped(entry.vendor_name),
            escaped(entry.vendor_package_name),
            escaped(entry.vendor_version),
            escaped(entry.vendor_url),
        ]
        for entry in image.sbat
    ]
    return columns(rows, "<><<<<", gap=2, indent=2)


_MATCHES = {True: "matches this file", False: "is NOT that of this file", None: "cannot be computed"}


def _signature_lines(signatures: tuple[Signature, ...]) -> list[Text]:
    lines: list[Text] = []
    for number, signature in enumerate(signatures, 1):
        lines += fact_lines(_signature_facts(number, signature))
    return lines


def _signature_facts(number: int, signature: Signature) -> Iterator[Fact]:
    yield (
        f"signature {number}",
        [f"{enum_name(signature.type)}, {signature.size:#x} bytes at file offset {signature.offset:#x}"],
    )
    for signer in signature.signers:
        subject = escaped(signer.subject) or f"certificate {signer.serial_number:#x}, not in the file"
        yield "  signer", [subject, Text(f"issued by {escaped(signer.issuer)}", "dim")]
    if signature.digest_algorithm:
        told = _MATCHES[signature.digest_matches]
        yield "  hash", [f"{escaped(signature.digest_algorithm)} {signature.digest.hex()}, {told}"]
    for one in signature.certificates:
        dates = f"{one.not_before:%Y-%m-%d} to {one.not_after:%Y-%m-%d}"
        yield "  certificate", [f"{escaped(one.subject)}, {dates}"]
