# SPDX-License-Identifier: GPL-2.0-or-later
"""The ELF header, program headers and section headers, as `@layout` declarations.

Source: the ELF gABI, "ELF Header", "Program Header" and "Section Header". pyelftools is not used here: it
reads the section headers when it opens a file, and those of a vmlinux stand at its end, behind 50 MB of
decompression.
"""

from __future__ import annotations

from typing import Annotated

from pvefi.layout import U16, U32, U64, Bytes, OpenEnum, Scalar, Structure, layout

__all__ = [
    "ELF_MAGIC",
    "Elf32Header",
    "Elf32ProgramHeader",
    "Elf32SectionHeader",
    "Elf64Header",
    "Elf64ProgramHeader",
    "Elf64SectionHeader",
    "ElfClass",
    "ElfMachine",
    "ElfType",
    "IDENT_CLASS",
    "IDENT_DATA",
    "LITTLE_ENDIAN",
    "SECTION_NOTE",
    "SegmentType",
]

ELF_MAGIC = b"\x7fELF"
IDENT_CLASS = 4
IDENT_DATA = 5
LITTLE_ENDIAN = 1
SECTION_NOTE = 7
"""SHT_NOTE, the sh_type of sections that hold notes."""


class ElfClass(OpenEnum):
    """EI_CLASS."""

    ELF32 = 1
    ELF64 = 2


class ElfType(OpenEnum):
    """e_type."""

    REL = 1
    EXEC = 2
    DYN = 3
    CORE = 4


class ElfMachine(OpenEnum):
    """e_machine, as far as Debian has ports (www.sco.com/developers/gabi, "e_machine")."""

    I386 = 3
    M68K = 4
    MIPS = 8
    PARISC = 15
    PPC = 20
    PPC64 = 21
    S390 = 22
    ARM = 40
    ALPHA = 0x9026
    SH = 42
    SPARCV9 = 43
    IA_64 = 50
    X86_64 = 62
    AARCH64 = 183
    RISCV = 243
    LOONGARCH = 258


class SegmentType(OpenEnum):
    """p_type."""

    NULL = 0
    LOAD = 1
    DYNAMIC = 2
    INTERP = 3
    NOTE = 4


@layout(size=64)
class Elf64Header(Structure):
    """Elf64_Ehdr."""

    ident: Annotated[bytes, Bytes(16)]
    type: Annotated[ElfType, Scalar("H")]
    machine: Annotated[ElfMachine, Scalar("H")]
    version: U32
    entry: U64
    program_offset: U64  # e_phoff
    section_offset: U64  # e_shoff
    flags: U32
    header_size: U16  # e_ehsize
    program_header_size: U16  # e_phentsize
    program_count: U16  # e_phnum
    section_header_size: U16  # e_shentsize
    section_count: U16  # e_shnum
    section_names: U16  # e_shstrndx


@layout(size=52)
class Elf32Header(Structure):
    """Elf32_Ehdr."""

    ident: Annotated[bytes, Bytes(16)]
    type: Annotated[ElfType, Scalar("H")]
    machine: Annotated[ElfMachine, Scalar("H")]
    version: U32
    entry: U32
    program_offset: U32
    section_offset: U32
    flags: U32
    header_size: U16
    program_header_size: U16
    program_count: U16
    section_header_size: U16
    section_count: U16
    section_names: U16


@layout(size=56)
class Elf64ProgramHeader(Structure):
    """Elf64_Phdr."""

    type: Annotated[SegmentType, Scalar("I")]
    flags: U32
    offset: U64
    virtual_address: U64
    physical_address: U64
    file_size: U64
    memory_size: U64
    alignment: U64


@layout(size=32)
class Elf32ProgramHeader(Structure):
    """Elf32_Phdr."""

    type: Annotated[SegmentType, Scalar("I")]
    offset: U32
    virtual_address: U32
    physical_address: U32
    file_size: U32
    memory_size: U32
    flags: U32
    alignment: U32


@layout(size=64)
class Elf64SectionHeader(Structure):
    """Elf64_Shdr."""

    name: U32
    type: U32
    flags: U64
    address: U64
    offset: U64
    section_size: U64  # sh_size
    link: U32
    info: U32
    alignment: U64  # sh_addralign
    entry_size: U64


@layout(size=40)
class Elf32SectionHeader(Structure):
    """Elf32_Shdr."""

    name: U32
    type: U32
    flags: U32
    address: U32
    offset: U32
    section_size: U32
    link: U32
    info: U32
    alignment: U32
    entry_size: U32
