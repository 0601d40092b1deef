# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds cpio archives of the "new ASCII" format, of which initrds are made."""

from __future__ import annotations

ORDER = (
    *("ino", "mode", "uid", "gid", "nlink", "mtime", "filesize"),
    *("devmajor", "devminor", "rdevmajor", "rdevminor", "namesize", "check"),
)
MICROCODE = "kernel/x86/microcode/GenuineIntel.bin"


def entry(name: str, data: bytes = b"", **fields: int) -> bytes:
    """Return one file of an archive."""
    values = dict.fromkeys(ORDER, 0) | {"mode": 0o100644, "nlink": 1}
    values |= {"filesize": len(data), "namesize": len(name) + 1} | fields
    head = b"070701" + b"".join(b"%08X" % values[field] for field in ORDER) + name.encode() + b"\0"
    return _padded(_padded(head) + data)


def archive(*names: str, data: bytes = b"content", zeros: int = 0) -> bytes:
    """Return an archive of files with these names; `zeros` follow it."""
    return b"".join(entry(name, data) for name in names) + entry("TRAILER!!!") + bytes(zeros)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
