# SPDX-License-Identifier: GPL-2.0-or-later
"""The JSON document of `pvefi inspect`: numbers are numbers, enumerations and flags go by name.

A flag or enumeration value without a name is written as a hexadecimal string among the names.
"""

from __future__ import annotations

from collections.abc import Iterable

from pvefi.errors import ImageError, PvefiError
from pvefi.image.bzimage import BzImage
from pvefi.image.model import Entry, Image
from pvefi.image.notes import Note
from pvefi.image.pe import PeImage
from pvefi.image.vmlinux import Vmlinux
from pvefi.layout import OpenEnum
from pvefi.report.inspect import flag_names
from pvefi.spec.xen.elfnote import XenElfNote, feature_names
from pvefi.trace.values import Json

__all__ = ["SCHEMA", "VERSION", "inspect_to_json"]

SCHEMA = "pvefi/inspect"
VERSION = 1


def inspect_to_json(images: Iterable[Image], errors: Iterable[tuple[str, PvefiError]]) -> dict[str, Json]:
    """Return one document: the images, and each file that is none with the reason."""
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "images": [_image(image) for image in images],
        "errors": [_error(path, error) for path, error in errors],
    }


def _error(path: str, error: PvefiError) -> dict[str, Json]:
    said: dict[str, Json] = {"path": path, "message": error.message, "way_out": error.way_out}
    if isinstance(error, ImageError):
        said |= {"offset": error.offset, "expected": error.expected, "found": error.found}
    return said


def _image(image: Image) -> dict[str, Json]:
    payload = image.payload
    return {
        "path": str(image.path),
        "size": image.size,
        "sha256": image.sha256,
        "kind": image.kind,
        "entries": [_entry(entry) for entry in image.entries],
        "pe": _pe(image.pe) if image.pe is not None else None,
        "bzimage": _bzimage(image.bzimage) if image.bzimage is not None else None,
        "payload": {
            "compression": payload.compression,
            "offset": payload.offset,
            "size": payload.size,
            "uncompressed_size": payload.uncompressed_size,
        }
        if payload is not None
        else None,
        "vmlinux": _vmlinux(image.vmlinux) if image.vmlinux is not None else None,
    }


def _entry(entry: Entry) -> dict[str, Json]:
    return {
        "kind": str(entry.kind),
        "bits": entry.bits,
        "address": entry.address,
        "address_kind": str(entry.address_kind),
        "file_offset": entry.file_offset,
        "demands": list(entry.demands),
        "source": entry.source,
        "decompressor": str(entry.decompressor),
        "kernel_entry": entry.kernel_entry or None,
        "remark": entry.remark or None,
    }


def _named(value: OpenEnum) -> str:
    return value.name if value.known else f"{int(value):#x}"


def _pe(pe: PeImage) -> dict[str, Json]:
    return {
        "machine": _named(pe.machine),
        "bits": pe.bits,
        "subsystem": _named(pe.subsystem),
        "entry_rva": pe.entry_rva,
        "image_base": pe.image_base,
        "section_alignment": pe.section_alignment,
        "file_alignment": pe.file_alignment,
        "size_of_image": pe.size_of_image,
        "size_of_headers": pe.size_of_headers,
        "characteristics": list(flag_names(pe.characteristics)),
        "dll_characteristics": list(flag_names(pe.dll_characteristics)),
        "nx_compatible": pe.nx_compatible,
        "relocatable": pe.relocatable,
        "directories": {
            _named(which): {"address": address, "size": size} for which, address, size in pe.directories
        },
        "sections": [
            {
                "name": section.name,
                "virtual_address": section.virtual_address,
                "virtual_size": section.virtual_size,
                "raw_offset": section.raw_offset,
                "raw_size": section.raw_size,
                "characteristics": list(flag_names(section.characteristics)),
            }
            for section in pe.sections
        ],
        "compat": [
            {"machine": _named(compat.machine), "entry_rva": compat.entry_rva} for compat in pe.compat
        ],
    }


def _bzimage(bzimage: BzImage) -> dict[str, Json]:
    info = bzimage.kernel_info
    return {
        "protocol": bzimage.protocol_name,
        "kernel_version": bzimage.kernel_version,
        "release": bzimage.release,
        "setup_size": bzimage.setup_size,
        "protected_mode_offset": bzimage.protected_mode_offset,
        "header": dict(bzimage.fields()),
        "loadflags": list(flag_names(bzimage.load_flags)),
        "xloadflags": list(flag_names(bzimage.xload_flags)),
        "kernel_info": {
            "size": info.size,
            "size_total": info.size_total,
            "setup_type_max": info.setup_type_max,
        }
        if info is not None
        else None,
    }


def _vmlinux(vmlinux: Vmlinux) -> dict[str, Json]:
    code = vmlinux.entry_code
    return {
        "machine": _named(vmlinux.machine),
        "bits": 64 if vmlinux.is_64bit else 32,
        "type": _named(vmlinux.type),
        "size": vmlinux.size,
        "e_entry": vmlinux.e_entry,
        "entry_code": {
            "segment_index": code.segment_index,
            "segment_offset": code.segment_offset,
            "physical_address": code.physical_address,
            "bytes": code.data.hex(),
        }
        if code is not None
        else None,
        "load_segments": [
            {
                "file_offset": load.file_offset,
                "virtual_address": load.virtual_address,
                "physical_address": load.physical_address,
                "file_size": load.file_size,
                "memory_size": load.memory_size,
                "permissions": load.permissions,
                "alignment": load.alignment,
            }
            for load in vmlinux.load_segments
        ],
        "notes": [_note(note) for note in vmlinux.notes],
    }


def _note(note: Note) -> dict[str, Json]:
    value: Json
    match note.value:
        case bytes(data):
            value = data.hex()
        case tuple(numbers):
            value = list(numbers)
        case plain:
            value = plain
    said: dict[str, Json] = {"owner": note.owner, "type": note.type, "name": note.name, "value": value}
    if note.is_xen(XenElfNote.SUPPORTED_FEATURES) and isinstance(value, int):
        said["features"] = list(feature_names(value))
    return said
