# SPDX-License-Identifier: GPL-2.0-or-later
"""The parts of `inspect`'s JSON document that tell of a kernel's own headers."""

from __future__ import annotations

from pvefi.image.arm64 import Arm64Image, Zboot
from pvefi.image.bzimage import BzImage
from pvefi.image.multiboot import LoadAddresses, Multiboot, Multiboot2, Multiboot2Tag
from pvefi.image.notes import Note
from pvefi.image.payload import Payload
from pvefi.image.vmlinux import Vmlinux
from pvefi.report.inspect_names import enum_name, flag_names
from pvefi.spec.multiboot2 import TAG_FIELDS, HeaderTag, InformationTag
from pvefi.spec.xen.elfnote import XenElfNote, feature_names, feature_words
from pvefi.trace.values import Json

__all__ = [
    "arm64_to_json",
    "bzimage_to_json",
    "multiboot2_to_json",
    "multiboot_to_json",
    "payload_to_json",
    "vmlinux_to_json",
    "zboot_to_json",
]


def payload_to_json(payload: Payload) -> dict[str, Json]:
    """Return what is compressed, and where."""
    return {
        "compression": payload.compression,
        "offset": payload.offset,
        "size": payload.size,
        "uncompressed_size": payload.uncompressed_size,
    }


def arm64_to_json(image: Arm64Image) -> dict[str, Json]:
    """Return the header of an arm64 Image, its flags decoded."""
    return {
        "text_offset": image.text_offset,
        "image_size": image.image_size,
        "flags": image.flags,
        "big_endian": image.big_endian,
        "page_size": image.page_size,
        "placed_anywhere": image.placed_anywhere,
    }


def zboot_to_json(zboot: Zboot) -> dict[str, Json]:
    """Return the header of an EFI zboot image."""
    return {"compression_type": zboot.compression_type, "payload": payload_to_json(zboot.payload)}


def multiboot_to_json(header: Multiboot) -> dict[str, Json]:
    """Return a Multiboot header."""
    graphics = header.graphics
    return {
        "offset": header.offset,
        "flags": list(flag_names(header.flags)),
        "load": _load(header.addresses) if header.addresses is not None else None,
        "entry_address": header.entry_address,
        "graphics": {
            "mode_type": graphics.mode_type,
            "width": graphics.width,
            "height": graphics.height,
            "depth": graphics.depth,
        }
        if graphics is not None
        else None,
    }


def _load(addresses: LoadAddresses) -> dict[str, Json]:
    return {
        "header_address": addresses.header_address,
        "load_address": addresses.load_address,
        "load_end_address": addresses.load_end_address,
        "bss_end_address": addresses.bss_end_address,
        "file_offset": addresses.file_offset,
    }


def multiboot2_to_json(header: Multiboot2) -> dict[str, Json]:
    """Return a Multiboot2 header with its tags."""
    return {
        "offset": header.offset,
        "architecture": enum_name(header.architecture),
        "length": header.length,
        "tags": [_tag(tag) for tag in header.tags],
        "load": _load(header.addresses) if header.addresses is not None else None,
    }


def _tag(tag: Multiboot2Tag) -> dict[str, Json]:
    said: dict[str, Json] = {"type": enum_name(tag.type), "optional": tag.optional}
    if tag.type is HeaderTag.INFORMATION_REQUEST:
        said["requests"] = [enum_name(InformationTag(word)) for word in tag.words]
    elif tag.type in TAG_FIELDS:
        said |= dict(zip(TAG_FIELDS[tag.type], tag.words, strict=False))
    else:
        said["words"] = list(tag.words)
    return said


def bzimage_to_json(bzimage: BzImage) -> dict[str, Json]:
    """Return the setup header, by the names of boot.rst."""
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


def vmlinux_to_json(vmlinux: Vmlinux) -> dict[str, Json]:
    """Return the kernel proper: ELF header, load segments, notes."""
    code = vmlinux.entry_code
    return {
        "machine": enum_name(vmlinux.machine),
        "bits": 64 if vmlinux.is_64bit else 32,
        "type": enum_name(vmlinux.type),
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
    if note.is_xen(XenElfNote.FEATURES) and isinstance(value, str):
        said["features"] = [{"name": name, "required": required} for name, required in feature_words(value)]
    return said
