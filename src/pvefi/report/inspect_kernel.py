# SPDX-License-Identifier: GPL-2.0-or-later
"""What `pvefi inspect` prints of a kernel's own headers: setup, ELF, notes, multiboot, arm64, zboot."""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text

from pvefi.image.arm64 import Arm64Image, Zboot
from pvefi.image.bzimage import BzImage
from pvefi.image.model import Image
from pvefi.image.multiboot import LoadAddresses, Multiboot, Multiboot2, Multiboot2Tag
from pvefi.image.notes import Note
from pvefi.image.vmlinux import Vmlinux
from pvefi.report.inspect_names import enum_name, flag_names
from pvefi.report.text import Fact, fact_lines, section, size_text
from pvefi.spec.multiboot2 import TAG_FIELDS, HeaderTag, InformationTag
from pvefi.spec.xen.elfnote import RELOCATION_FIELDS, XenElfNote, feature_names, feature_words
from pvefi.trace.columns import Cell, columns
from pvefi.trace.spelling import escaped

__all__ = ["kernel_lines"]

_CODE_SHOWN = 16
_TEXT_SHOWN = 100


def kernel_lines(image: Image) -> list[Text]:
    """Return what is known of the kernel's headers in `image`."""
    lines: list[Text] = []
    if image.bzimage is not None:
        lines += section("Setup header", _setup_rows(image.bzimage))
    if image.zboot is not None:
        lines += section("EFI zboot header", fact_lines(_zboot_facts(image.zboot)))
    if image.arm64 is not None:
        lines += section("arm64 Image header", fact_lines(_arm64_facts(image.arm64)))
    if image.multiboot is not None:
        lines += section("Multiboot header", fact_lines(_multiboot_facts(image.multiboot)))
    if image.multiboot2 is not None:
        lines += section("Multiboot2 header", fact_lines(_multiboot2_facts(image.multiboot2)))
    if image.vmlinux is not None:
        lines += section("Kernel proper (vmlinux)", fact_lines(_vmlinux_facts(image.vmlinux)))
        lines += section("Load segments", _segment_rows(image.vmlinux))
        lines += section("ELF notes", _note_rows(image.vmlinux))
    return lines


def _arm64_facts(image: Arm64Image) -> Iterator[Fact]:
    yield "text offset", [f"{image.text_offset:#x} from a base aligned to 2 MiB"]
    yield (
        "image size",
        [f"{image.image_size:#x} ({size_text(image.image_size)})" if image.image_size else "not said"],
    )
    pages = size_text(image.page_size) if image.page_size else "not said"
    order = "big-endian" if image.big_endian else "little-endian"
    where = "anywhere in memory" if image.placed_anywhere else "as low in memory as can be"
    yield "flags", [f"{image.flags:#x}: {order}, page size {pages}, placed {where}"]


def _zboot_facts(zboot: Zboot) -> Iterator[Fact]:
    payload = zboot.payload
    yield "compression", [escaped(zboot.compression_type)]
    yield (
        "payload",
        [
            f"{payload.size:#x} bytes at file offset {payload.offset:#x}, "
            f"{payload.uncompressed_size:#x} uncompressed"
        ],
    )


def _multiboot_facts(header: Multiboot) -> Iterator[Fact]:
    yield "file offset", [f"{header.offset:#x}"]
    yield "flags", [" ".join(flag_names(header.flags)) or "none"]
    if header.addresses is not None:
        yield "load", [_load_text(header.addresses)]
        yield "entry", [f"{header.entry_address:#x}"]
    if header.graphics is not None:
        wish = header.graphics
        mode = "text" if wish.mode_type else "graphics"
        yield "video mode", [f"{mode}, {wish.width} x {wish.height}, depth {wish.depth} (0: no preference)"]


def _load_text(addresses: LoadAddresses) -> str:
    end = f"{addresses.load_end_address:#x}" if addresses.load_end_address else "the end of the file"
    bss = f", .bss to {addresses.bss_end_address:#x}" if addresses.bss_end_address else ""
    return f"from file offset {addresses.file_offset:#x} to {addresses.load_address:#x} up to {end}{bss}"


def _multiboot2_facts(header: Multiboot2) -> Iterator[Fact]:
    yield "file offset", [f"{header.offset:#x}, {header.length:#x} bytes"]
    yield "architecture", [enum_name(header.architecture)]
    for tag in header.tags:
        optional = " (optional)" if tag.optional else ""
        yield "tag", [f"{enum_name(tag.type)}{optional}  {_tag_text(tag)}".rstrip()]
    if header.addresses is not None:
        yield "load", [_load_text(header.addresses)]


def _tag_text(tag: Multiboot2Tag) -> str:
    if tag.type is HeaderTag.INFORMATION_REQUEST:
        return " ".join(enum_name(InformationTag(word)) for word in tag.words)
    names = TAG_FIELDS.get(tag.type)
    if names is None:
        return " ".join(f"{word:#x}" for word in tag.words)
    return " ".join(f"{name} {word:#x}" for name, word in zip(names, tag.words, strict=False))


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
        case str(text) if note.is_xen(XenElfNote.FEATURES):
            words = [f"{name} (required)" if required else name for name, required in feature_words(text)]
            return escaped(", ".join(words)) or "none"
        case str(text):
            return f'"{escaped(text[:_TEXT_SHOWN])}"' + ("..." if len(text) > _TEXT_SHOWN else "")
        case tuple(numbers) if note.is_xen(XenElfNote.PHYS32_RELOC):
            return ", ".join(
                f"{name.replace('_', ' ')} {number:#x}"
                for (name, _), number in zip(RELOCATION_FIELDS, numbers, strict=False)
            )
        case tuple(numbers):
            return " ".join(f"{number:#x}" for number in numbers)
        case data:
            return data[: _TEXT_SHOWN // 2].hex() + ("..." if len(data) > _TEXT_SHOWN // 2 else "")
