# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import pytest

from pvefi.image.initrd import initrd_parts, initrd_text
from tests.build.bzimage import compress
from tests.build.cpio import MICROCODE, archive, entry

INIT = archive("init", "bin/sh")


def test_an_archive_is_an_initrd() -> None:
    assert initrd_text(INIT) == "an initrd (cpio archive)"


@pytest.mark.parametrize("compression", ["gzip", "bzip2", "lzma", "xz", "lzo", "lz4", "zstd"])
def test_a_compressed_archive_is_an_initrd(compression: str) -> None:
    assert initrd_parts(compress(INIT, compression)) == [f"cpio archive, {compression}"]


def test_microcode_in_front_is_told() -> None:
    data = archive("kernel", "kernel/x86", MICROCODE, zeros=9000) + compress(INIT, "zstd")
    assert initrd_text(data) == "an initrd (cpio archive with microcode, then cpio archive, zstd)"


def test_archives_in_a_row_are_told_each() -> None:
    assert initrd_parts(INIT + bytes(512) + INIT + INIT) == ["cpio archive"] * 3


def test_names_and_contents_are_padded_to_4_bytes() -> None:
    data = b"".join(entry("x" * n, bytes(n)) for n in range(1, 9)) + entry("TRAILER!!!") + INIT
    assert initrd_parts(data) == ["cpio archive", "cpio archive"]


def test_what_stands_behind_the_archives_is_left_out() -> None:
    assert initrd_parts(INIT + b"something else") == ["cpio archive"]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"Hello",
        compress(b"Hello", "gzip"),
        b"\x1f\x8b" + bytes(20),
        b"070707" + bytes(100),
    ],
)
def test_anything_else_is_no_initrd(data: bytes) -> None:
    assert initrd_text(data) is None


@pytest.mark.parametrize(
    "data",
    [
        INIT[:-130],
        INIT[:100],
        entry("init", filesize=0xFFFFFFFF),
        entry("init", namesize=0xFFFFFFFF),
        INIT[:94] + b"no hexad" + INIT[102:],
        entry("a") * 5000,
    ],
)
def test_an_archive_that_is_damaged_or_endless_is_still_named(data: bytes) -> None:
    assert initrd_parts(data) == ["cpio archive"]


def test_parts_without_end_are_not_all_read() -> None:
    assert len(initrd_parts(archive() * 100)) == 8
