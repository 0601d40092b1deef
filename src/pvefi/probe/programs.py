# SPDX-License-Identifier: GPL-2.0-or-later
"""Puts programs of a Linux distribution into an initrd, with the loader and the shared libraries they need.

What a program needs stands in its ELF file: PT_INTERP names the loader, DT_NEEDED each library (ELF gABI,
"Dynamic Linking"). No cache of the loader's is made: it looks into LIBRARY_FOLDER by itself.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath

from pvefi.errors import ImageError
from pvefi.image.elf import ELF_MAGIC
from pvefi.probe.cpio import Entry, regular_file, with_folders

__all__ = ["LIBRARY_FOLDER", "program_entries"]

LIBRARY_FOLDER = "lib/x86_64-linux-gnu"
"""A folder that Debian's loader searches without being told (Debian glibc, multiarch)."""


def program_entries(programs: Mapping[str, bytes], library: Callable[[str], bytes]) -> tuple[Entry, ...]:
    """Return the entries of `programs` at their paths, and of what they need; scripts need nothing.

    `library` gives the content of a library or loader by its name, such as libc.so.6; its LookupError is
    passed on with the name of the file that needs it. ImageError for a damaged ELF file.
    """
    found = [regular_file(path, data, executable=True) for path, data in programs.items()]
    placed: set[str] = set()
    for entry in found:  # which grows
        for path in _needs(entry.name, entry.data):
            name = PurePosixPath(path).name
            if name not in placed:
                placed.add(name)
                found.append(regular_file(path, _given(library, name, entry.name), executable=True))
    return with_folders(found)


def _given(library: Callable[[str], bytes], name: str, asked_by: str) -> bytes:
    try:
        return library(name)
    except LookupError:
        raise LookupError(f"library {name}, which {asked_by} needs") from None


def _needs(path: str, data: bytes) -> list[str]:
    """Return the paths of the loader and of the libraries that an ELF file names itself."""
    from elftools.elf.dynamic import DynamicSegment
    from elftools.elf.elffile import ELFFile
    from elftools.elf.segments import InterpSegment

    if not data.startswith(ELF_MAGIC):
        return []
    found: list[str] = []
    try:
        for segment in ELFFile(io.BytesIO(data)).iter_segments():
            if isinstance(segment, InterpSegment):
                found.append(segment.get_interp_name().lstrip("/"))
            elif isinstance(segment, DynamicSegment):
                tags = segment.iter_tags("DT_NEEDED")
                found += [f"{LIBRARY_FOLDER}/{getattr(tag, 'needed', '')}" for tag in tags]
    except Exception as error:  # pyelftools raises whatever the damage leads it to, assertions too
        raise ImageError(path, None, "a program or a library", f"a damaged ELF file ({error})") from error
    return found
