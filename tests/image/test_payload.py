# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import tracemalloc
from array import array
from functools import cache

import pytest

from pvefi.errors import ImageError
from pvefi.image.payload import MAX_UNCOMPRESSED_SIZE, PayloadStream, PlainStream, read_payload
from tests.build.bzimage import compress

READ = ["gzip", "bzip2", "lzma", "xz", "lz4", "lzo", "zstd"]
DATA = b"\x7fELF" + array("I", range(1 << 18)).tobytes()
ZEROS = 48 << 20


@cache
def packed_zeros(compression: str, declared_size: int | None = None) -> bytes:
    return compress(bytes(ZEROS), compression, declared_size)


def stream(packed: bytes, before: int = 0) -> PayloadStream:
    data = bytes(before) + packed
    return PayloadStream("k", data, read_payload("k", data, before, len(packed)))


@pytest.mark.parametrize("compression", READ)
def test_the_format_and_the_size_are_read_from_the_payload(compression: str) -> None:
    packed = compress(DATA, compression)
    payload = read_payload("k", bytes(100) + packed, 100, len(packed))
    assert (payload.compression, payload.offset, payload.size) == (compression, 100, len(packed))
    assert payload.uncompressed_size == len(DATA)


@pytest.mark.parametrize("compression", [*READ, "none"])
def test_ranges_are_read_in_ascending_order(compression: str) -> None:
    source = stream(compress(DATA, compression), before=7)
    for offset, size in ((0, 64), (60, 10), (500_000, 100), (len(DATA) - 16, 16)):
        assert source.read(offset, size) == DATA[offset : offset + size]


def test_the_chunks_of_an_lz4_payload_are_joined() -> None:
    data = array("I", range(9 << 19)).tobytes()  # 18 MiB: two chunks of 8, one of 2
    source = stream(compress(data, "lz4"))
    for offset in ((8 << 20) - 8, (16 << 20) - 8):
        assert source.read(offset, 16) == data[offset : offset + 16]
    assert stream(compress(data, "lz4")).read(0, len(data)) == data


def test_a_range_before_the_last_one_is_a_bug() -> None:
    source = stream(compress(DATA, "gzip"))
    source.read(1000, 10)
    with pytest.raises(ValueError, match="was dropped"):
        source.read(0, 10)


@pytest.mark.parametrize("compression", READ)
def test_reading_to_the_end_holds_only_what_is_asked_for(compression: str) -> None:
    packed = packed_zeros(compression)
    tracemalloc.start()
    try:
        assert stream(packed).read(ZEROS - 16, 16) == bytes(16)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 32 << 20  # an lz4 chunk is 8 MiB, and there are three at a time


@pytest.mark.parametrize("compression", READ)
def test_a_payload_larger_than_it_declares_is_a_bomb(compression: str) -> None:
    source = stream(packed_zeros(compression, 4096))
    with pytest.raises(ImageError, match="decompression bomb"):
        source.read(0, 4096)


def test_a_payload_that_declares_too_much_is_refused_before_it_is_read() -> None:
    packed = compress(DATA, "gzip", declared_size=MAX_UNCOMPRESSED_SIZE + 1)
    with pytest.raises(ImageError, match="claims 1024 MiB, a decompression bomb"):
        stream(packed)


@pytest.mark.parametrize("compression", READ)
def test_a_payload_smaller_than_it_declares_is_refused(compression: str) -> None:
    source = stream(compress(DATA, compression, declared_size=len(DATA) + 100))
    with pytest.raises(ImageError):
        source.read(len(DATA), 50)


@pytest.mark.parametrize("compression", READ)
def test_a_payload_cut_short_is_refused(compression: str) -> None:
    packed = compress(DATA, compression)
    cut = packed[: len(packed) // 3] + packed[-4:]
    with pytest.raises(ImageError, match=compression + "|declared"):
        stream(cut).read(len(DATA) - 10, 10)


@pytest.mark.parametrize("compression", READ)
def test_a_damaged_payload_is_refused(compression: str) -> None:
    packed = bytearray(compress(DATA, compression))
    packed[4:60] = b"\xa5" * 56
    with pytest.raises(ImageError):
        stream(bytes(packed)).read(len(DATA) - 10, 10)


def test_a_range_past_the_declared_size_is_refused() -> None:
    with pytest.raises(ImageError, match="one that reaches to"):
        stream(compress(DATA, "gzip")).read(len(DATA) - 1, 2)


def test_an_unknown_format_is_refused_with_its_bytes() -> None:
    with pytest.raises(ImageError, match="de ad be ef"):
        read_payload("k", b"\xde\xad\xbe\xef" * 4, 0, 16)


def test_a_payload_too_short_for_its_size_is_refused() -> None:
    with pytest.raises(ImageError, match="a size at its end"):
        read_payload("k", b"\x1f\x8b", 0, 2)


def test_a_plain_file_is_read_as_it_is() -> None:
    source = PlainStream(b"abcdef")
    assert (source.size, source.read(2, 3), source.read(5, 9)) == (6, b"cde", b"f")
