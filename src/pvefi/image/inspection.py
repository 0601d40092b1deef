# SPDX-License-Identifier: GPL-2.0-or-later
"""The first step of the flow: a file becomes an `Image`, or one clear line says why not."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from pvefi.errors import ImageError, UsageError
from pvefi.image.bzimage import BzImage, has_setup_header, parse_bzimage
from pvefi.image.elf import ELF_MAGIC
from pvefi.image.entries import find_entries
from pvefi.image.model import Image
from pvefi.image.payload import READABLE, Payload, PayloadStream, PlainStream, read_payload
from pvefi.image.pe import has_pe_header, parse_pe
from pvefi.image.recognition import EXPECTED, describe, refuse, refuse_foreign_elf, refuse_program
from pvefi.image.vmlinux import Vmlinux, read_vmlinux

__all__ = ["MAX_FILE_SIZE", "inspect"]

MAX_FILE_SIZE = 1 << 30
"""Unified kernel images reach a few hundred MB; a larger file is a disk image or a mistake."""


def inspect(path: Path | str) -> Image:
    """Return what `path` holds; UsageError when it cannot be read, ImageError when it is no sound image."""
    path = Path(path)
    data = _read(path)
    name = str(path)
    pe = parse_pe(path, data) if has_pe_header(data) else None
    bzimage = parse_bzimage(name, data) if has_setup_header(data) else None
    payload = _payload(name, data, bzimage) if bzimage is not None else None
    vmlinux = _vmlinux(name, data, payload)
    if (pe is None or not pe.subsystem.is_efi) and bzimage is None and vmlinux is None:
        refuse(name, data, pe)
    return Image(
        path=path,
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        kind=describe(pe, bzimage, vmlinux),
        pe=pe,
        bzimage=bzimage,
        payload=payload,
        vmlinux=vmlinux,
        entries=find_entries(pe, bzimage, vmlinux),
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


def _vmlinux(path: str, data: bytes, payload: Payload | None) -> Vmlinux | None:
    if payload is not None:
        if payload.compression not in READABLE:
            return None
        return read_vmlinux(path, PayloadStream(path, data, payload), payload.offset)
    if data[: len(ELF_MAGIC)] == ELF_MAGIC:
        refuse_foreign_elf(path, data)
        vmlinux = read_vmlinux(path, PlainStream(data))
        refuse_program(path, vmlinux)
        return vmlinux
    return None
