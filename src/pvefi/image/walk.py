# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes of files and directories that a user names the files to look at, in an order that reads well."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from pvefi.errors import PvefiError, UsageError

__all__ = ["Found", "files_of"]

_NUMBER = re.compile(r"(\d+)")


Found = tuple[Path, PvefiError | None]


def files_of(paths: Iterable[Path]) -> Iterator[Found]:
    """Yield each path that is no directory, and the files in each that is one.

    A directory's own files come before its folders, by name, with the numbers in names in order; links to
    folders are not followed. A directory that cannot be listed, or holds no file, comes with an error.
    """
    for path in paths:
        if not path.is_dir():
            yield path, None
            continue
        found = False
        for file in _walk(path):
            found = True
            yield file
        if not found:
            yield path, UsageError(f"{path}: expected a directory with files, found none in it")


def _walk(top: Path) -> Iterator[Found]:
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(folder) as entries:
                listed = sorted(entries, key=lambda entry: _natural(entry.name))
        except OSError as error:
            yield folder, UsageError(f"{folder}: cannot be read: {error.strerror}")
            continue
        for entry in listed:
            if not _is_folder(entry):
                yield folder / entry.name, None
        waiting += [folder / e.name for e in reversed(listed) if _is_folder(e) and not e.is_symlink()]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # links that lead to each other
        return False


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a key by which vmlinuz-6.9 comes before vmlinuz-6.12."""
    parts = _NUMBER.split(name)  # text, number, text, ...
    return [(int(part), "") if at % 2 else (-1, part) for at, part in enumerate(parts)]
