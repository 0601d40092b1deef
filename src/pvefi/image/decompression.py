# SPDX-License-Identifier: GPL-2.0-or-later
"""Decompresses the formats in which kernels come, forwards and piece by piece.

Source: Linux lib/decompress.c, the list of formats; the format of each stands at its function. Whoever asks
bounds what comes out; a piece is at most a few MiB, but for a block that a stream itself makes larger.
"""

from __future__ import annotations

import bz2
import lzma
import struct
import zlib
from collections.abc import Callable, Iterator

__all__ = ["COMPRESSIONS", "LONGEST_MAGIC", "DamagedStream", "compression_of", "decompressed"]

_PIECE_SIZE = 1 << 20
_FEED_SIZE = 64 << 10
_GZIP_MAGIC = b"\x1f\x8b"
_MAX_GZIP_MEMBERS = 1 << 16
"""bgzip makes a member of every 64 KiB: enough for 4 GiB, and an end to a file of empty ones."""
_MAX_DICTIONARY_SIZE = 128 << 20
"""Linux scripts/Makefile.lib: zstd --ultra -22 takes a window of 128 MiB; xz at most the same."""
_LZ4_CHUNK_SIZE = 8 << 20
"""lz4 legacy frame (lz4_Frame_format.md "Legacy frame"): every block but the last holds 8 MiB."""
_LZ4_MAX_BLOCK = _LZ4_CHUNK_SIZE + _LZ4_CHUNK_SIZE // 255 + 16
_WORD = struct.Struct("<I")
_WORD_BIG_ENDIAN = struct.Struct(">I")

COMPRESSIONS: dict[bytes, str] = {
    _GZIP_MAGIC: "gzip",
    b"\x1f\x9e": "gzip",
    b"BZh": "bzip2",
    b"\x5d\x00\x00": "lzma",
    b"\xfd7zXZ\0": "xz",
    b"\x02\x21\x4c\x18": "lz4",
    b"\x89LZO": "lzo",
    b"\x28\xb5\x2f\xfd": "zstd",
}
"""Magic numbers (Linux boot.rst "payload_offset", lib/decompress.c); lzma's third byte is that of its
dictionary size, a multiple of 64 KiB."""
LONGEST_MAGIC = max(map(len, COMPRESSIONS))


class DamagedStream(Exception):
    """A stream that breaks off, or breaks its format's rules; the message says how."""


def compression_of(start: bytes) -> str:
    """Return the name of the compression that begins with these bytes; "" for none."""
    return next((name for magic, name in COMPRESSIONS.items() if start.startswith(magic)), "")


def decompressed(compression: str, data: memoryview) -> Iterator[bytes]:
    """Yield what `data` holds, to the end of its first stream; DamagedStream when it is not sound.

    A gzip stream is all the members that follow each other without a gap.
    lz4 has no end mark: whoever knows the size notices.
    """
    try:
        yield from _DECOMPRESSORS[compression](data)
    except _broken() as error:
        raise DamagedStream(str(error)) from error


def _broken() -> tuple[type[Exception], ...]:
    from lz4.block import LZ4BlockError  # native modules, only when a payload is read
    from lzallright import LZOError
    from zstandard import ZstdError

    return (zlib.error, lzma.LZMAError, OSError, EOFError, LZ4BlockError, LZOError, ZstdError)  # OSError: bz2


def _gzip(data: memoryview) -> Iterator[bytes]:
    """Every member of the file in turn (RFC 1952 §2.2); what follows them and is none is left alone."""
    at = 0
    for _ in range(_MAX_GZIP_MEMBERS):
        stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        while not stream.eof:
            feed = data[at : at + _FEED_SIZE]
            piece = stream.decompress(feed, _PIECE_SIZE)
            left = stream.unused_data if stream.eof else stream.unconsumed_tail  # at the end both have it
            at += len(feed) - len(left)
            if not (piece or feed or stream.eof):
                raise EOFError("it breaks off")
            if piece:
                yield piece
        if data[at : at + len(_GZIP_MAGIC)] != _GZIP_MAGIC:
            return
    raise EOFError(f"more than {_MAX_GZIP_MEMBERS} gzip members")


def _pieces(stream: lzma.LZMADecompressor | bz2.BZ2Decompressor, data: memoryview) -> Iterator[bytes]:
    feed: bytes | memoryview = data
    while not stream.eof:
        piece = stream.decompress(feed, _PIECE_SIZE)
        feed = b""
        if not piece and stream.needs_input:
            raise EOFError("it breaks off")
        yield piece


def _xz(data: memoryview) -> Iterator[bytes]:
    memory_limit = _MAX_DICTIONARY_SIZE + _PIECE_SIZE
    return _pieces(lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=memory_limit), data)


def _lzma(data: memoryview) -> Iterator[bytes]:
    """The format before xz: LZMA SDK lzma-specification.txt "lzma file format"."""
    memory_limit = _MAX_DICTIONARY_SIZE + _PIECE_SIZE
    return _pieces(lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=memory_limit), data)


def _bzip2(data: memoryview) -> Iterator[bytes]:
    return _pieces(bz2.BZ2Decompressor(), data)


def _lz4(data: memoryview) -> Iterator[bytes]:
    from lz4.block import decompress

    at = _WORD.size
    while at + _WORD.size < len(data):  # in a bzImage the last 4 bytes are the kernel's size trailer
        (size,) = _WORD.unpack_from(data, at)
        at += _WORD.size
        if size > _LZ4_MAX_BLOCK or at + size > len(data):
            raise EOFError(f"an lz4 block of {size:#x} bytes where {len(data) - at:#x} are left")
        yield decompress(data[at : at + size], uncompressed_size=_LZ4_CHUNK_SIZE)
        at += size


def _zstd(data: memoryview) -> Iterator[bytes]:
    from zstandard import ZstdDecompressor

    decompressor = ZstdDecompressor(max_window_size=_MAX_DICTIONARY_SIZE)
    # Behind the end of its frame the reader would take what follows, such as a size, for another one.
    with decompressor.stream_reader(data[: _zstd_frame_size(data)]) as stream:
        while piece := stream.read(_PIECE_SIZE):
            yield piece


_ZSTD_BLOCK_HEADER_SIZE = 3
_ZSTD_RLE_BLOCK = 1
_ZSTD_CHECKSUM_SIZE = 4


def _zstd_frame_size(data: memoryview) -> int:
    """Return the size of the frame at the start (RFC 8878 "Zstandard Frames" and "Blocks")."""
    from zstandard import frame_header_size, get_frame_parameters

    start = bytes(data[:64])
    at = frame_header_size(start)
    is_last = False
    while not is_last:
        header = int.from_bytes(data[at : at + _ZSTD_BLOCK_HEADER_SIZE], "little")
        is_last, kind, size = bool(header & 1), header >> 1 & 3, header >> 3
        at += _ZSTD_BLOCK_HEADER_SIZE + (1 if kind == _ZSTD_RLE_BLOCK else size)
        if at > len(data):
            raise EOFError("it breaks off")
    return at + _ZSTD_CHECKSUM_SIZE * get_frame_parameters(start).has_checksum


_LZOP_MAGIC = b"\x89LZO\0\r\n\x1a\n"
_LZOP_VERSION_WITH_LEVEL = 0x0940
_LZOP_HAS_FILTER = 0x800
_LZO_BLOCK_SIZE = 256 << 10


def _lzo(data: memoryview) -> Iterator[bytes]:
    """The format of lzop as the kernel reads it (Linux lib/decompress_unlzo.c): blocks with one checksum."""
    from lzallright import LZOCompressor

    at = _lzop_header_size(data)
    while size := _big_endian(data, at):
        packed_size, checksum = _big_endian(data, at + 4), _big_endian(data, at + 8)
        at += 12
        if size > _LZO_BLOCK_SIZE or not 0 < packed_size <= size:
            raise EOFError(f"an LZO block of {packed_size:#x} bytes for {size:#x}")
        if at + packed_size > len(data):
            raise EOFError(f"an LZO block of {packed_size:#x} bytes where {len(data) - at:#x} are left")
        packed = bytes(data[at : at + packed_size])
        piece = packed if packed_size == size else LZOCompressor.decompress(packed, size)
        if len(piece) != size or zlib.adler32(piece) != checksum:
            raise EOFError("an LZO block that does not match its checksum")
        yield piece
        at += packed_size


def _lzop_header_size(data: memoryview) -> int:
    if bytes(data[: len(_LZOP_MAGIC)]) != _LZOP_MAGIC:
        raise EOFError("an LZO file without the magic of lzop")
    at = len(_LZOP_MAGIC)
    newer = _big_endian(data, at) >> 16 >= _LZOP_VERSION_WITH_LEVEL
    at += 2 + 2 + 2 + 1 + newer  # version, library version, version needed, method, level
    at += 8 if _big_endian(data, at) & _LZOP_HAS_FILTER else 4  # flags, filter
    at += 4 + 4 + 4 * newer  # mode, modification time
    at += 1 + (_big_endian(data, at) >> 24) + 4  # length of the file name, the name, checksum
    return at


def _big_endian(data: memoryview, at: int) -> int:
    if at + _WORD_BIG_ENDIAN.size > len(data):
        raise EOFError("an LZO stream that breaks off")
    word: int = _WORD_BIG_ENDIAN.unpack_from(data, at)[0]
    return word


_DECOMPRESSORS: dict[str, Callable[[memoryview], Iterator[bytes]]] = {
    "gzip": _gzip,
    "bzip2": _bzip2,
    "lzma": _lzma,
    "xz": _xz,
    "lz4": _lz4,
    "lzo": _lzo,
    "zstd": _zstd,
}
