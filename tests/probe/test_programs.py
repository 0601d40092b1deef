# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs come with their loader and all libraries, each once; what lacks is named with who needs it."""

from __future__ import annotations

import struct
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvefi.errors import ImageError
from pvefi.probe.programs import LIBRARY_FOLDER, program_entries

LOADER = "lib64/ld.so.2"


def elf(*needed: str, loader: str = "") -> bytes:
    """Return a program or a library that needs others, by the names in its dynamic section."""
    strings = b"\0" + b"".join(name.encode() + b"\0" for name in needed)
    count = 3 if loader else 2
    interpreter = f"/{loader}".encode() + b"\0" if loader else b""
    at = 64 + 56 * count
    names_at = at + len(interpreter)
    dynamic_at = names_at + len(strings)
    # DT_NEEDED, DT_STRTAB, DT_STRSZ, DT_NULL
    tags = [(1, strings.index(b"\0" + name.encode()) + 1) for name in needed]
    dynamic = b"".join(struct.pack("<QQ", *tag) for tag in (*tags, (5, names_at), (10, len(strings)), (0, 0)))
    size = dynamic_at + len(dynamic)
    segments = [(1, 0, size), (2, dynamic_at, len(dynamic))]  # PT_LOAD, PT_DYNAMIC
    if loader:
        segments.insert(0, (3, at, len(interpreter)))  # PT_INTERP
    header = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 3, 62, 1, 0, 64, 0, 0, 64, 56, len(segments), 64, 0, 0
    )
    table = b"".join(
        struct.pack("<IIQQQQQQ", kind, 4, start, start, start, length, length, 1)
        for kind, start, length in segments
    )
    return header + table + interpreter + strings + dynamic


LIBRARIES = {
    "libfirst.so.1": elf("libsecond.so.2", "libc.so.6"),
    "libsecond.so.2": elf("libc.so.6", "libfirst.so.1"),
    "libc.so.6": elf("ld.so.2"),
    "ld.so.2": elf(),
}
PROGRAM = elf("libfirst.so.1", "libc.so.6", loader=LOADER)


def names(programs: Mapping[str, bytes], libraries: Mapping[str, bytes] = LIBRARIES) -> list[str]:
    entries = program_entries(programs, libraries.__getitem__)
    return [entry.name for entry in entries if entry.data]


def test_a_program_comes_with_its_loader_and_all_libraries_once() -> None:
    expected = [LOADER, *(f"{LIBRARY_FOLDER}/lib{name}" for name in ("c.so.6", "first.so.1", "second.so.2"))]
    assert sorted(names({"usr/bin/one": PROGRAM, "sbin/two": PROGRAM})) == sorted(
        [*expected, "usr/bin/one", "sbin/two"]
    )


def test_all_of_it_may_be_executed_and_stands_in_folders() -> None:
    entries = program_entries({"usr/bin/one": PROGRAM}, LIBRARIES.__getitem__)
    assert [entry.name for entry in entries][:3] == ["usr", "usr/bin", "usr/bin/one"]
    assert {entry.mode for entry in entries} == {0o100755, 0o040755}


def test_a_script_needs_nothing() -> None:
    assert names({"usr/bin/script": b"#!/bin/sh\n"}) == ["usr/bin/script"]


@pytest.mark.parametrize(
    ("lacking", "asked_by"),
    [("libfirst.so.1", "usr/bin/one"), ("libsecond.so.2", f"{LIBRARY_FOLDER}/libfirst.so.1")],
)
def test_a_library_that_is_nowhere_is_named_with_who_needs_it(lacking: str, asked_by: str) -> None:
    left = {name: data for name, data in LIBRARIES.items() if name != lacking}
    with pytest.raises(LookupError, match=f"library {lacking}, which {asked_by} needs"):
        names({"usr/bin/one": PROGRAM}, left)


@given(st.binary(max_size=80), st.integers(0, len(PROGRAM)))
def test_a_damaged_program_is_an_error_or_needs_something_else(noise: bytes, at: int) -> None:
    damaged = PROGRAM[:at] + noise + PROGRAM[at + len(noise) :]
    try:
        names({"usr/bin/one": damaged})
    except (ImageError, LookupError):
        return
