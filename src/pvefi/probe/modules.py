# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads kernel modules and puts them into the order in which they can be loaded.

A Debian kernel package has no modules.dep: depmod makes it when the package is installed. What a module needs
stands in its own section .modinfo (Linux scripts/mod/modpost.c, `depends=`).
"""

from __future__ import annotations

import lzma
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pvefi.errors import ImageError
from pvefi.image.elf import ELF_MAGIC, IDENT_CLASS, Elf64Header, Elf64SectionHeader, ElfClass, ElfType

__all__ = ["Module", "load_order", "read_module"]

_SECTION = b".modinfo"
_NO_BITS = 8
"""SHT_NOBITS: a section without bytes in the file."""
_MAX_SIZE = 64 << 20
_XZ_MAGIC = b"\xfd7zXZ\0"


@dataclass(frozen=True, slots=True)
class Module:
    """A kernel module: its name, the names of those it needs, the kernel that it is for, and its ELF file."""

    name: str
    needs: tuple[str, ...]
    release: str
    data: bytes


def read_module(path: Path, data: bytes) -> Module:
    """Return the module that `data` is, plain or as .xz; `path` is named in errors."""
    if data.startswith(_XZ_MAGIC):
        try:
            data = lzma.LZMADecompressor().decompress(data, _MAX_SIZE)
        except lzma.LZMAError as error:
            raise ImageError(path, None, "a module", f"damaged xz ({error})") from error
    facts = dict(part.partition("=")[::2] for part in _modinfo(path, data))
    if "name" not in facts:
        raise ImageError(path, None, "the name of a module in .modinfo", "none")
    # What `depends` names may have the hyphens of the files' names (Linux kernel/params.c, dash2underscore).
    needs = tuple(name.replace("-", "_") for name in facts.get("depends", "").split(",") if name)
    return Module(facts["name"].replace("-", "_"), needs, facts.get("vermagic", "").partition(" ")[0], data)


def load_order(
    wanted: Iterable[str], modules: Mapping[str, Module], built_in: frozenset[str] = frozenset()
) -> tuple[str, ...]:
    """Return the names of what has to be loaded for `wanted`, each after all that it needs.

    What the kernel has built in needs no loading. LookupError names a module that is nowhere.
    """
    order: list[str] = []

    def add(name: str, asked_by: tuple[str, ...]) -> None:
        if name in order or name in built_in:
            return
        if name not in modules:
            raise LookupError(f"module {name}" + "".join(f", which {other} needs" for other in asked_by[-1:]))
        if name in asked_by:
            raise LookupError(f"an order of modules: {name} needs itself, by {', '.join(asked_by)}")
        for needed in modules[name].needs:
            add(needed, (*asked_by, name))
        order.append(name)

    for name in wanted:
        add(name, ())
    return tuple(order)


def _modinfo(path: Path, data: bytes) -> list[str]:
    """Return the strings of section .modinfo."""
    if data[: len(ELF_MAGIC)] != ELF_MAGIC or data[IDENT_CLASS : IDENT_CLASS + 1] != bytes([ElfClass.ELF64]):
        raise ImageError(path, 0, "a module of 64 bits", "something else")
    try:
        header = Elf64Header.unpack(data)
        places = [
            header.section_offset + number * header.section_header_size
            for number in range(header.section_count)
        ]
        sections = [Elf64SectionHeader.unpack(data, place) for place in places]
        names = sections[header.section_names]
    except (struct.error, ValueError, IndexError, OverflowError):
        raise ImageError(path, None, "the sections of a module", "a file that is cut short") from None
    if header.type != ElfType.REL:
        raise ImageError(path, None, "a relocatable file", f"ELF type {header.type:d}")
    for section in sections:
        at = names.offset + section.name
        if section.type != _NO_BITS and data[at : at + len(_SECTION) + 1] == _SECTION + b"\0":
            text = data[section.offset : section.offset + section.section_size]
            return [part.decode("latin-1") for part in text.split(b"\0") if part]
    raise ImageError(path, None, "a section .modinfo", "none")
