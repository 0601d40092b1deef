# SPDX-License-Identifier: GPL-2.0-or-later
"""Decompresses a kernel's payload forwards, keeping only the ranges asked for, within fixed bounds.

Source: Linux boot.rst "payload_offset" (the magic numbers) and arch/x86/boot/compressed/Makefile, which
appends the uncompressed size in 4 bytes to every format but gzip, whose own trailer is just that.
"""

from __future__ import annotations

import bz2
import lzma
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NoReturn

from pvefi.errors import ImageError

__all__ = [
    "COMPRESSIONS",
    "MAX_UNCOMPRESSED_SIZE",
    "Payload",
    "PayloadStream",
    "PlainStream",
    "READABLE",
    "read_payload",
]

MAX_UNCOMPRESSED_SIZE = 1 << 30
"""Nothing is decompressed past 1 GiB: the largest distribution kernels reach 100 MB."""

_PIECE_SIZE = 1 << 20
_MAX_DICTIONARY_SIZE = 128 << 20
"""Linux scripts/Makefile.lib: zstd --ultra -22 takes a window of 128 MiB; xz at most the same."""
_LZ4_CHUNK_SIZE = 8 << 20
"""lz4 legacy frame (lz4_Frame_format.md "Legacy frame"): every block but the last holds 8 MiB."""
_LZ4_MAX_BLOCK = _LZ4_CHUNK_SIZE + _LZ4_CHUNK_SIZE // 255 + 16
_WORD = struct.Struct("<I")

COMPRESSIONS: dict[bytes, str] = {
    b"\x1f\x8b": "gzip",
    b"\x1f\x9e": "gzip",
    b"BZh": "bzip2",
    b"\x5d\x00": "lzma",
    b"\xfd7zXZ\0": "xz",
    b"\x02\x21\x4c\x18": "lz4",
    b"\x89LZO": "lzo",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x7fELF": "none",
}
"""Magic numbers (Linux boot.rst "payload_offset", lib/decompress.c)."""


@dataclass(frozen=True, slots=True)
class Payload:
    """The compressed kernel inside a bzImage: where it stands and how large it says it is."""

    compression: str
    offset: int
    size: int
    uncompressed_size: int


def read_payload(path: str, data: bytes, offset: int, size: int) -> Payload:
    """Return what stands at `offset`; ImageError when it is no known format or claims too much."""
    magic = data[offset : offset + max(map(len, COMPRESSIONS))]
    compression = next((name for start, name in COMPRESSIONS.items() if magic.startswith(start)), "")
    if not compression:
        raise ImageError(
            path, offset, "a compressed kernel (gzip, xz, lz4, zstd, ...)", f"bytes {magic.hex(' ')}"
        )
    if compression == "none":
        return Payload(compression, offset, size, size)
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
    decompress = _DECOMPRESSORS.get(payload.compression)
    if decompress is None:
        raise ImageError(
            path,
            payload.offset,
            f"a payload of a format that pvefi reads ({', '.join(_DECOMPRESSORS)})",
            payload.compression,
        )
    total = 0
    compressed = memoryview(data)[payload.offset : payload.offset + payload.size]
    try:
        for piece in decompress(compressed):
            total += len(piece)
            if total > payload.uncompressed_size:
                raise ImageError(
                    path,
                    payload.offset,
                    f"the {payload.uncompressed_size:#x} bytes that the payload declares",
                    f"more than {total:#x}, a decompression bomb or a corrupt size",
                )
            yield piece
    except _broken() as error:
        raise ImageError(
            path,
            payload.offset,
            f"a sound {payload.compression} stream",
            f"damage {total:#x} bytes in: {error}",
            "the file is truncated or corrupt",
        ) from error


def _broken() -> tuple[type[Exception], ...]:
    from lz4.block import LZ4BlockError  # native modules, only when a payload is read
    from zstandard import ZstdError

    return (zlib.error, lzma.LZMAError, OSError, EOFError, LZ4BlockError, ZstdError)  # OSError: bz2


def _plain(data: memoryview) -> Iterator[bytes]:
    for at in range(0, len(data), _PIECE_SIZE):
        yield bytes(data[at : at + _PIECE_SIZE])


def _gzip(data: memoryview) -> Iterator[bytes]:
    stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    feed: bytes | memoryview = data
    while not stream.eof:
        piece = stream.decompress(feed, _PIECE_SIZE)
        feed = stream.unconsumed_tail
        if not piece and not feed:
            return
        yield piece


def _xz(data: memoryview) -> Iterator[bytes]:
    stream = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MAX_DICTIONARY_SIZE + _PIECE_SIZE)
    feed: bytes | memoryview = data
    while not stream.eof:
        piece = stream.decompress(feed, _PIECE_SIZE)
        feed = b""
        if not piece and stream.needs_input:
            return
        yield piece


def _bzip2(data: memoryview) -> Iterator[bytes]:
    stream = bz2.BZ2Decompressor()
    feed: bytes | memoryview = data
    while not stream.eof:
        piece = stream.decompress(feed, _PIECE_SIZE)
        feed = b""
        if not piece and stream.needs_input:
            return
        yield piece


def _lz4(data: memoryview) -> Iterator[bytes]:
    from lz4.block import decompress

    at = _WORD.size
    while at + _WORD.size < len(data):  # the last 4 bytes are the kernel's size trailer
        (size,) = _WORD.unpack_from(data, at)
        at += _WORD.size
        if size > _LZ4_MAX_BLOCK or at + size > len(data):
            raise EOFError(f"an lz4 block of {size:#x} bytes where {len(data) - at:#x} are left")
        yield decompress(data[at : at + size], uncompressed_size=_LZ4_CHUNK_SIZE)
        at += size


def _zstd(data: memoryview) -> Iterator[bytes]:
    from zstandard import ZstdDecompressor

    decompressor = ZstdDecompressor(max_window_size=_MAX_DICTIONARY_SIZE)
    with decompressor.stream_reader(data) as stream:
        while piece := stream.read(_PIECE_SIZE):
            yield piece


_DECOMPRESSORS: dict[str, Callable[[memoryview], Iterator[bytes]]] = {
    "gzip": _gzip,
    "xz": _xz,
    "lz4": _lz4,
    "zstd": _zstd,
    "bzip2": _bzip2,
    "none": _plain,
}

READABLE = frozenset(_DECOMPRESSORS)
"""The compressions that `PayloadStream` reads; lzma and lzo are not among them yet."""
