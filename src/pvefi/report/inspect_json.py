# SPDX-License-Identifier: GPL-2.0-or-later
"""The JSON document of `pvefi inspect`: numbers are numbers, enumerations and flags go by name.

A flag or enumeration value without a name is written as a hexadecimal string among the names.
"""

from __future__ import annotations

from collections.abc import Iterable

from pvefi.errors import ImageError, PvefiError
from pvefi.image.model import Entry, Image
from pvefi.report.inspect_json_kernel import (
    arm64_to_json,
    bzimage_to_json,
    multiboot2_to_json,
    multiboot_to_json,
    payload_to_json,
    vmlinux_to_json,
    zboot_to_json,
)
from pvefi.report.inspect_json_pe import pe_to_json, unified_to_json
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
    return {
        "path": str(image.path),
        "inside": image.inside or None,
        "size": image.size,
        "sha256": image.sha256 or None,
        "kind": image.kind,
        "compressed": payload_to_json(image.wrapper) if image.wrapper is not None else None,
        "entries": [_entry(entry) for entry in image.entries],
        "pe": pe_to_json(image.pe, image) if image.pe is not None else None,
        "unified": unified_to_json(image.unified) if image.unified is not None else None,
        "bzimage": bzimage_to_json(image.bzimage) if image.bzimage is not None else None,
        "payload": payload_to_json(image.payload) if image.payload is not None else None,
        "zboot": zboot_to_json(image.zboot) if image.zboot is not None else None,
        "arm64": arm64_to_json(image.arm64) if image.arm64 is not None else None,
        "multiboot": multiboot_to_json(image.multiboot) if image.multiboot is not None else None,
        "multiboot2": multiboot2_to_json(image.multiboot2) if image.multiboot2 is not None else None,
        "vmlinux": vmlinux_to_json(image.vmlinux) if image.vmlinux is not None else None,
        "embedded": [_image(inner) for inner in image.embedded],
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
