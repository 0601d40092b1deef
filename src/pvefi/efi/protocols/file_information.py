# SPDX-License-Identifier: GPL-2.0-or-later
"""What GetInfo() and reading a directory tell of a file, as bytes — UEFI 2.10 §13.5.16, §13.5.17."""

from __future__ import annotations

import os
import stat
from datetime import UTC, datetime

from pvefi.spec.uefi.files import FileAttribute, FileInfo, FileSystemInfo
from pvefi.spec.uefi.time import NANOSECONDS_PER_SECOND, YEARS, Time

__all__ = ["LABEL", "file_info", "file_system_info", "volume_label"]

LABEL = "PVEFI"
"""The volume's label."""
_BLOCK_SIZE = 512
_NO_TIME = Time.unpack(bytes(Time.SIZE))


def _text(text: str) -> bytes:
    return f"{text}\0".encode("utf-16-le", "surrogatepass")


def file_info(name: str, status: os.stat_result) -> bytes:
    """Return EFI_FILE_INFO and the name behind it: of a file that can only be read.

    Linux tells no time of creation everywhere: it is that of the last change, or none.
    """
    directory = stat.S_ISDIR(status.st_mode)
    text = _text(name)
    modified = _time(status.st_mtime_ns)
    attribute = FileAttribute.READ_ONLY | (FileAttribute.DIRECTORY if directory else FileAttribute(0))
    info = FileInfo(
        size=FileInfo.SIZE + len(text),
        file_size=0 if directory else status.st_size,
        physical_size=0 if directory else -(-status.st_size // _BLOCK_SIZE) * _BLOCK_SIZE,
        create_time=modified,
        last_access_time=_time(status.st_atime_ns),
        modification_time=modified,
        attribute=attribute,
    )
    return info.pack() + text


def file_system_info(volume_size: int) -> bytes:
    """Return EFI_FILE_SYSTEM_INFO and the label behind it: of a volume on which nothing can be written."""
    text = _text(LABEL)
    info = FileSystemInfo(
        size=FileSystemInfo.SIZE + len(text),
        read_only=1,
        _pad=0,
        _pad2=0,
        _pad3=0,
        _pad4=0,
        volume_size=volume_size,
        free_space=0,
        block_size=_BLOCK_SIZE,
    )
    return info.pack() + text


def volume_label() -> bytes:
    """Return EFI_FILE_SYSTEM_VOLUME_LABEL — UEFI 2.10 §13.5.18."""
    return _text(LABEL)


def _time(nanoseconds: int) -> Time:
    """Return a time of the host as UTC; all zeroes, which means none, where no EFI_TIME can tell it."""
    seconds, rest = divmod(nanoseconds, NANOSECONDS_PER_SECOND)
    try:
        then = datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return _NO_TIME
    if then.year not in YEARS:
        return _NO_TIME
    return Time(
        year=then.year,
        month=then.month,
        day=then.day,
        hour=then.hour,
        minute=then.minute,
        second=then.second,
        _pad1=0,
        nanosecond=rest,
        time_zone=0,
        daylight=0,
        _pad2=0,
    )
