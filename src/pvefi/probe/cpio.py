# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes cpio archives of the "new ASCII" format, of which the kernel takes its initial root file system.

Source: Linux Documentation/driver-api/early-userspace/buffer-format.rst.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

__all__ = [
    "Entry",
    "archive",
    "character_device",
    "directory",
    "regular_file",
    "symbolic_link",
    "with_folders",
]

_MAGIC = b"070701"
_TRAILER = "TRAILER!!!"
_ALIGNMENT = 4


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of an archive: `mode` is its st_mode, `data` what it holds, `device` its device numbers."""

    name: str
    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


def directory(name: str) -> Entry:
    """Return a directory."""
    return Entry(name, stat.S_IFDIR | 0o755)


def regular_file(name: str, data: bytes, *, executable: bool = False) -> Entry:
    """Return a file with this content."""
    return Entry(name, stat.S_IFREG | (0o755 if executable else 0o644), data)


def symbolic_link(name: str, target: str) -> Entry:
    """Return a link that leads to `target`."""
    return Entry(name, stat.S_IFLNK | 0o777, target.encode())


def character_device(name: str, major: int, minor: int) -> Entry:
    """Return a node of the device `major`:`minor`."""
    return Entry(name, stat.S_IFCHR | 0o600, device=(major, minor))


def with_folders(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """Return `entries`, each after the directories that it stands in."""
    found: dict[str, Entry] = {}
    for entry in entries:
        parents = [str(parent) for parent in PurePosixPath(entry.name).parents][-2::-1]
        found |= {name: directory(name) for name in parents if name not in found}
        found[entry.name] = entry
    return tuple(found.values())


def archive(entries: Iterable[Entry]) -> bytes:
    """Return an archive of `entries`; the same entries give the same bytes, for no time is recorded."""
    files = [*entries, Entry(_TRAILER, 0)]
    return b"".join(_member(number, entry) for number, entry in enumerate(files, start=1))


def _member(number: int, entry: Entry) -> bytes:
    name = entry.name.encode() + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    fields = (
        *(0 if entry.name == _TRAILER else number, entry.mode),  # c_ino, c_mode
        *(0, 0, links, 0),  # c_uid, c_gid, c_nlink, c_mtime
        *(len(entry.data), 0, 0),  # c_filesize, c_maj, c_min
        *entry.device,  # c_rmaj, c_rmin
        *(len(name), 0),  # c_namesize, c_chksum
    )
    head = _MAGIC + b"".join(b"%08X" % field for field in fields) + name
    return _padded(_padded(head) + entry.data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % _ALIGNMENT)
