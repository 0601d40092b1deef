# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads a compressed kernel within fixed bounds, keeping only the ranges asked for.

Source: Linux boot.rst "payload_offset" and arch/x86/boot/compressed/Makefile, which appends the uncompressed
size in 4 bytes to every format but gzip, whose own trailer is just that.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

from pvefi.errors import ImageError
from pvefi.image.decompression import LONGEST_MAGIC, DamagedStream, compression_of, decompressed
from pvefi.image.elf import ELF_MAGIC

__all__ = [
    "MAX_UNCOMPRESSED_SIZE",
    "MAX_UNWRAPPED_SIZE",
    "NOT_COMPRESSED",
    "Payload",
    "PayloadStream",
    "PlainStream",
    "peek",
    "read_payload",
    "unwrapped",
]

MAX_UNCOMPRESSED_SIZE = 1 << 30
"""Nothing is decompressed past 1 GiB: the largest distribution kernels reach 100 MB."""
MAX_UNWRAPPED_SIZE = 128 << 20
"""A file that is compressed as a whole is held in memory: vmlinux and arm64 Image reach 80 MB."""
NOT_COMPRESSED = "none"

_PIECE_SIZE = 1 << 20
_WORD = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Payload:
    """A compressed kernel in a file: where it stands and how large it says it is."""

    compression: str
    offset: int
    size: int
    uncompressed_size: int


def read_payload(path: str, data: bytes, offset: int, size: int) -> Payload:
    """Return what stands at `offset`; ImageError when it is no known format or claims too much."""
    magic = data[offset : offset + LONGEST_MAGIC]
    if magic.startswith(ELF_MAGIC):
        return Payload(NOT_COMPRESSED, offset, size, size)
    compression = compression_of(magic)
    if not compression:
        raise ImageError(
            path, offset, "a compressed kernel (gzip, xz, lz4, zstd, ...)", f"bytes {magic.hex(' ')}"
        )
    if size < _WORD.size:
        raise ImageError(path, offset, "a payload with a size at its end", f"{size} bytes")
    (declared,) = _WORD.unpack_from(data, offset + size - _WORD.size)
    if declared > MAX_UNCOMPRESSED_SIZE:
        raise ImageError(
            path,
            offset + size - _WORD.size,
            f"a kernel of at most {MAX_UNCOMPRESSED_SIZE >> 20} MiB",
            f"a payload that claims {declared >> 20} MiB, a decompression bomb or a corrupt size",
        )
    return Payload(compression, offset, size, declared)


def peek(compression: str, data: bytes | memoryview, size: int) -> bytes:
    """Return up to `size` bytes from the start of a compressed file; fewer where it is damaged."""
    held = bytearray()
    try:
        for piece in decompressed(compression, memoryview(data)):
            held += piece
            if len(held) >= size:
                break
    except DamagedStream:
        pass
    return bytes(held[:size])


def unwrapped(path: str, data: bytes) -> tuple[Payload, bytes]:
    """Return what a file that is compressed as a whole holds; ImageError when it is damaged or a bomb."""
    compression = compression_of(data)
    pieces, total = [], 0
    try:
        for piece in decompressed(compression, memoryview(data)):
            pieces.append(piece)
            total += len(piece)
            if total > MAX_UNWRAPPED_SIZE:
                raise ImageError(
                    path,
                    None,
                    f"a compressed kernel of at most {MAX_UNWRAPPED_SIZE >> 20} MiB",
                    "more, perhaps a decompression bomb",
                    "decompress it first",
                )
    except DamagedStream as error:
        raise _damage(path, 0, compression, total, error) from error
    return Payload(compression, 0, len(data), total), b"".join(pieces)


class PayloadStream:
    """Reads ranges of the uncompressed payload in ascending order; never holds more than they need."""

    def __init__(self, path: str, data: bytes, payload: Payload) -> None:
        self._path = path
        self._payload = payload
        self._pieces = _bounded(path, data, payload)
        self._held = bytearray()
        self._start = 0  # where _held begins in the uncompressed payload

    @property
    def size(self) -> int:
        """The size that the payload declares."""
        return self._payload.uncompressed_size

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes at `offset`, which may not lie before an earlier read's offset."""
        if offset < self._start:
            raise ValueError(f"range at {offset:#x} was asked for after {self._start:#x} was dropped")
        if offset + size > self.size:
            self._refuse(f"{self.size:#x} bytes declared", f"one that reaches to {offset + size:#x}")
        while self._start + len(self._held) < offset + size:
            self._drop(offset)
            piece = next(self._pieces, None)
            if piece is None:
                self._refuse(
                    f"{self.size:#x} bytes declared", f"its end at {self._start + len(self._held):#x}"
                )
            if self._start + len(piece) <= offset:  # all before the range: nothing is held now, nor need be
                self._start += len(piece)
            else:
                self._held += piece
        self._drop(offset)
        return bytes(self._held[:size])

    def _drop(self, offset: int) -> None:
        surplus = min(offset - self._start, len(self._held))
        if surplus > 0:
            del self._held[:surplus]
            self._start += surplus

    def _refuse(self, expected: str, found: str) -> NoReturn:
        raise ImageError(self._path, self._payload.offset, f"a payload of the {expected}", found)


class PlainStream:
    """The same for an ELF file that is not compressed."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @property
    def size(self) -> int:
        """The file's size."""
        return len(self._data)

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes at `offset`; fewer where the file ends."""
        return self._data[offset : offset + size]


def _bounded(path: str, data: bytes, payload: Payload) -> Iterator[bytes]:
    total = 0
    packed = memoryview(data)[payload.offset : payload.offset + payload.size]
    plain = payload.compression == NOT_COMPRESSED
    try:
        for piece in _plain(packed) if plain else decompressed(payload.compression, packed):
            total += len(piece)
            if total > payload.uncompressed_size:
                raise ImageError(
                    path,
                    payload.offset,
                    f"the {payload.uncompressed_size:#x} bytes that the payload declares",
                    f"more than {total:#x}, a decompression bomb or a corrupt size",
                )
            yield piece
    except DamagedStream as error:
        raise _damage(path, payload.offset, payload.compression, total, error) from error


def _plain(data: memoryview) -> Iterator[bytes]:
    for at in range(0, len(data), _PIECE_SIZE):
        yield bytes(data[at : at + _PIECE_SIZE])


def _damage(path: str, offset: int, compression: str, total: int, error: DamagedStream) -> ImageError:
    return ImageError(
        path,
        offset,
        f"a sound {compression} stream",
        f"damage {total:#x} bytes in: {error}",
        "the file is truncated or corrupt",
    )
