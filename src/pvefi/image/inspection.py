# SPDX-License-Identifier: GPL-2.0-or-later
"""The first step of the flow: a file becomes an `Image`, or one clear line says why not."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pvefi.errors import ImageError, UsageError
from pvefi.image.arm64 import find_arm64_image, find_zboot, has_arm64_header
from pvefi.image.bzimage import BzImage, has_setup_header, parse_bzimage
from pvefi.image.decompression import compression_of
from pvefi.image.elf import ELF_MAGIC
from pvefi.image.entries import find_entries
from pvefi.image.model import Contents, Image
from pvefi.image.multiboot import (
    HEAD_SIZE,
    check_multiboot,
    find_multiboot,
    find_multiboot2,
    has_multiboot_header,
)
from pvefi.image.payload import Payload, PayloadStream, PlainStream, peek, read_payload, unwrapped
from pvefi.image.pe import PeImage, has_pe_header, parse_pe
from pvefi.image.recognition import EXPECTED, describe, refuse, refuse_foreign_elf, refuse_program
from pvefi.image.relocations import relocations
from pvefi.image.sbat import SbatEntry, read_sbat
from pvefi.image.signatures import read_signatures
from pvefi.image.uki import find_unified
from pvefi.image.vmlinux import Vmlinux, read_vmlinux
from pvefi.spec import sbat
from pvefi.spec.pe import Machine

__all__ = ["MAX_FILE_SIZE", "inspect"]

MAX_FILE_SIZE = 1 << 30
"""Unified kernel images reach a few hundred MB; a larger file is a disk image or a mistake."""
_MAX_DEPTH = 4
"""A unified image with a zboot image with a kernel is 3 deep."""
_COUNTED = frozenset({Machine.AMD64, Machine.I386, Machine.ARM64})
"""Machines whose images use no other types of base relocations than `relocations` knows."""
_INNER_HEAD_SIZE = 1 << 20
"""Of the image in a zboot image no more is decompressed: it has only headers to show."""


@dataclass(frozen=True, slots=True)
class _Subject:
    """What is looked at: a file, or a part of one. `name` is for messages, `data` may be only the start.

    With `deep` a kernel that is compressed in it is looked at too.
    """

    path: Path
    name: str
    data: bytes
    size: int
    inside: str = ""
    depth: int = 1
    deep: bool = True

    @property
    def is_whole(self) -> bool:
        """Whether `data` is all of it."""
        return len(self.data) == self.size


def inspect(path: Path | str, *, deep: bool = True) -> Image:
    """Return what `path` holds; UsageError when it cannot be read, ImageError when it is no sound image.

    Without `deep` a bzImage's kernel proper, and what entries it has, stay unknown: that takes no memory.
    """
    path = Path(path)
    data = _read(path)
    return _image(_Subject(path, str(path), data, len(data), deep=deep))


def _image(subject: _Subject) -> Image:
    path, name = subject.path, subject.name
    wrapper, data = _unwrapped(name, subject.data)
    size = len(data) if wrapper is not None else subject.size
    contents = _contents(name, data, size, wrapper, deep=subject.deep)
    is_efi = contents.pe is not None and contents.pe.subsystem.is_efi
    others = (contents.bzimage, contents.vmlinux, contents.arm64)
    if not is_efi and not any(others) and not _loads_by_address(contents):
        refuse(name, data, contents.pe)
    is_whole = wrapper is not None or subject.is_whole
    pe = contents.pe if is_whole else None
    entries = find_entries(contents)
    return Image(
        path=path,
        size=subject.size,
        sha256=hashlib.sha256(subject.data).hexdigest() if subject.is_whole else "",
        kind=describe(contents, entries),
        entries=entries,
        relocation_count=_relocation_count(pe, data) if pe is not None else None,
        signatures=read_signatures(pe, data) if pe is not None else (),
        sbat=_sbat(pe, data) if pe is not None else (),
        inside=subject.inside,
        embedded=tuple(_image(inner) for inner in _inner(subject, contents, data)),
        **{field: getattr(contents, field) for field in Contents.__dataclass_fields__},
    )


def _unwrapped(name: str, data: bytes) -> tuple[Payload | None, bytes]:
    """Return what a file that is compressed as a whole holds, if that may be an image; else the file."""
    compression = compression_of(data)
    if not compression or has_setup_header(data):
        return None, data
    head = peek(compression, data, HEAD_SIZE)
    may_be_image = (
        head.startswith(ELF_MAGIC)
        or has_arm64_header(head)
        or has_pe_header(head)
        or has_setup_header(head)
        or has_multiboot_header(head)
    )
    return unwrapped(name, data) if may_be_image else (None, data)


def _contents(name: str, data: bytes, size: int, wrapper: Payload | None, *, deep: bool) -> Contents:
    pe = parse_pe(name, data, size) if has_pe_header(data) else None
    bzimage = parse_bzimage(name, data) if has_setup_header(data) else None
    payload = _payload(name, data, bzimage) if bzimage is not None else None
    multiboot, multiboot2 = find_multiboot(name, data, size), find_multiboot2(name, data, size)
    vmlinux = None
    if deep or payload is None:
        vmlinux = _vmlinux(name, data, payload, multiboot is not None or multiboot2 is not None)
    check_multiboot(name, size, vmlinux if payload is None else None, multiboot, multiboot2)
    return Contents(
        wrapper=wrapper,
        pe=pe,
        bzimage=bzimage,
        payload=payload,
        vmlinux=vmlinux,
        arm64=find_arm64_image(data),
        zboot=find_zboot(name, data) if pe is not None else None,
        multiboot=multiboot,
        multiboot2=multiboot2,
        unified=find_unified(pe, data) if pe is not None and len(data) == size else None,
    )


def _loads_by_address(contents: Contents) -> bool:
    """Whether a boot loader can load the file by what a multiboot header says, whatever the file is."""
    headers = (contents.multiboot, contents.multiboot2)
    return any(header is not None and header.addresses is not None for header in headers)


def _inner(subject: _Subject, contents: Contents, data: bytes) -> Iterator[_Subject]:
    """Yield the images inside an image, of which only the outer has a file."""
    parts: list[tuple[str, bytes, int]] = []
    if contents.unified is not None:
        for kernel in contents.unified.kernels:
            part = data[kernel.offset : kernel.offset + kernel.size]
            label = kernel.name if kernel.profile is None else f"{kernel.name} @{kernel.profile}"
            parts.append((label, part, len(part)))
    if contents.zboot is not None:
        payload = contents.zboot.payload
        head_size = min(payload.uncompressed_size, _INNER_HEAD_SIZE)
        head = PayloadStream(subject.name, data, payload).read(0, head_size)
        parts.append((f"{payload.compression} payload", head, payload.uncompressed_size))
    for label, part, size in parts:
        if subject.depth == _MAX_DEPTH:
            raise ImageError(subject.name, None, f"images at most {_MAX_DEPTH} deep in each other", "more")
        yield _Subject(
            subject.path, f"{subject.name}: {label}", part, size, label, subject.depth + 1, subject.deep
        )


def _relocation_count(pe: PeImage, data: bytes) -> int | None:
    return sum(1 for _ in relocations(pe, data)) if pe.machine in _COUNTED else None


def _sbat(pe: PeImage, data: bytes) -> tuple[SbatEntry, ...]:
    section = pe.section(sbat.SECTION)
    if section is None:
        return ()
    return read_sbat(
        pe.path, section.raw_offset, data[section.raw_offset : section.raw_offset + section.file_size]
    )


def _read(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{path}: cannot be read: {error}") from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        found = "a directory" if stat.S_ISDIR(status.st_mode) else "a device, pipe or socket"
        raise ImageError(path, None, EXPECTED, found)
    with os.fdopen(descriptor, "rb") as file:
        if status.st_size > MAX_FILE_SIZE:
            raise ImageError(
                path,
                None,
                f"a kernel or EFI program file of at most {MAX_FILE_SIZE >> 20} MiB",
                f"{status.st_size >> 20} MiB",
            )
        try:
            return file.read(status.st_size)
        except OSError as error:
            raise UsageError(f"{path}: cannot be read: {error.strerror}") from error


def _payload(path: str, data: bytes, bzimage: BzImage) -> Payload | None:
    header = bzimage.header
    if not header.payload_length:
        return None
    offset = bzimage.protected_mode_offset + header.payload_offset
    if offset + header.payload_length > len(data):
        raise ImageError(
            path,
            offset,
            f"a payload within the file ({len(data):#x} bytes)",
            f"one up to {offset + header.payload_length:#x}",
            "the file is truncated or its header is corrupt",
        )
    return read_payload(path, data, offset, header.payload_length)


def _vmlinux(path: str, data: bytes, payload: Payload | None, has_multiboot: bool) -> Vmlinux | None:
    if payload is not None:
        return read_vmlinux(path, PayloadStream(path, data, payload), payload.offset)
    if data[: len(ELF_MAGIC)] == ELF_MAGIC:
        refuse_foreign_elf(path, data)
        vmlinux = read_vmlinux(path, PlainStream(data))
        if not has_multiboot:
            refuse_program(path, vmlinux)
        return vmlinux
    return None
