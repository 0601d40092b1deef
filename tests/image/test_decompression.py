# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import gzip
import random
import subprocess
from array import array
from typing import TYPE_CHECKING

import pytest

from pvefi.image.decompression import DamagedStream, compression_of, decompressed
from tests.build.bzimage import LZO_CHUNK, compress, lzop

if TYPE_CHECKING:
    from tests.conftest import Tool

DATA = array("I", range(1 << 18)).tobytes()


def unpacked(compression: str, data: bytes) -> bytes:
    return b"".join(decompressed(compression, memoryview(data)))


@pytest.mark.parametrize("compression", ["gzip", "bzip2", "lzma", "xz", "lzo", "lz4", "zstd"])
def test_a_stream_is_named_and_unpacked(compression: str) -> None:
    packed = compress(DATA, compression)
    assert compression_of(packed) == compression
    assert unpacked(compression, packed) == DATA


@pytest.mark.parametrize("compression", ["gzip", "bzip2", "lzma", "xz", "lzo", "zstd"])
def test_a_stream_that_breaks_off_is_damaged(compression: str) -> None:
    with pytest.raises(DamagedStream):
        unpacked(compression, compress(DATA, compression)[: 1 << 12])


MEMBERS = gzip.compress(DATA[:1000]) + gzip.compress(b"") + gzip.compress(DATA[1000:])


@pytest.mark.parametrize("behind", [b"", bytes(512), b"other"])
def test_all_members_of_a_gzip_file_are_unpacked(behind: bytes) -> None:
    assert unpacked("gzip", MEMBERS + behind) == DATA


def test_no_piece_of_a_gzip_file_is_large() -> None:
    packed = gzip.compress(bytes(5 << 20)) + gzip.compress(bytes(3 << 20))
    sizes = [len(piece) for piece in decompressed("gzip", memoryview(packed))]
    assert (sum(sizes), max(sizes)) == (8 << 20, 1 << 20)


@pytest.mark.parametrize("cut", [1, 8, 100])
def test_a_later_gzip_member_that_breaks_off_is_damage(cut: int) -> None:
    with pytest.raises(DamagedStream, match="it breaks off"):
        unpacked("gzip", MEMBERS[:-cut])


def test_gzip_members_without_end_are_damage() -> None:
    with pytest.raises(DamagedStream, match="more than 65536 gzip members"):
        unpacked("gzip", gzip.compress(b"") * (1 << 17))


@pytest.mark.parametrize(
    "fields", [{"version": 0x0930}, {"flags": 0x803}, {"name": b"vmlinux.bin"}, {"name": b"x" * 255}]
)
def test_every_form_of_an_lzop_header_is_passed_over(fields: dict[str, int]) -> None:
    assert unpacked("lzo", lzop(DATA, **fields)) == DATA  # type: ignore[arg-type]  # by name


NOISE = random.Random(1).randbytes(1000)


def test_a_block_that_lzo_cannot_shrink_stands_as_it_is() -> None:
    assert unpacked("lzo", lzop(NOISE)) == NOISE


def test_a_changed_byte_is_noticed_by_its_checksum() -> None:
    packed = bytearray(lzop(NOISE))
    packed[-500] ^= 1
    with pytest.raises(DamagedStream, match="does not match its checksum"):
        unpacked("lzo", bytes(packed))


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (0, LZO_CHUNK + 1, "an LZO block of"),
        (4, 0, "an LZO block of 0x0 bytes"),
        (4, 1 << 31, "an LZO block"),
    ],
)
def test_a_block_of_an_absurd_size_is_damage(at: int, value: int, message: str) -> None:
    packed = bytearray(lzop(DATA))
    start = packed.index(LZO_CHUNK.to_bytes(4, "big")) + at
    packed[start : start + 4] = value.to_bytes(4, "big")
    with pytest.raises(DamagedStream, match=message):
        unpacked("lzo", bytes(packed))


def test_what_lzop_makes_is_unpacked(tool: Tool) -> None:
    packed = subprocess.run([tool("lzop"), "-9"], input=DATA, capture_output=True, check=True).stdout
    assert unpacked("lzo", packed) == DATA


def test_what_is_not_compressed_has_no_name() -> None:
    assert compression_of(b"\x7fELF") == ""
    assert compression_of(b"") == ""
