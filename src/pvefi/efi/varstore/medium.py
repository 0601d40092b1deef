# SPDX-License-Identifier: GPL-2.0-or-later
"""What a store lies on: a file or a block device, held by one pvefi at a time."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
from pathlib import Path
from typing import Protocol, Self

from pvefi.efi.varstore.store import StoreError, StoreFault
from pvefi.errors import UsageError
from pvefi.files import kind_of_file

__all__ = ["FileMedium", "Medium", "ReadOnlyError"]

_WHAT = "a variable store"
_NEW = "pvefi vars new makes one"
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_READ_ONLY = frozenset({errno.EROFS, errno.EPERM, errno.EACCES, errno.EBADF})
_HELD = frozenset({errno.EACCES, errno.EAGAIN})

_BLKROGET = 0x125E  # Linux include/uapi/linux/fs.h


class ReadOnlyError(UsageError):
    """A file that can be read but not written."""


class Medium(Protocol):
    """Bytes that stay; a crash may cut a write short, and several may land in any order until `sync`."""

    @property
    def name(self) -> str:
        """What to call it in messages."""
        ...

    @property
    def writable(self) -> bool:
        """Whether it was opened for writing."""
        ...

    @property
    def fixed_size(self) -> bool:
        """Whether its size is that of what lies on it, as a file's is and a device's is not."""
        ...

    def read(self, limit: int) -> bytes:
        """Return what is there, `limit` bytes at most; StoreError when that fails."""
        ...

    def write(self, offset: int, data: bytes) -> None:
        """Write `data`; StoreError when that fails."""
        ...

    def sync(self) -> None:
        """Return when all that was written lasts; StoreError when that fails."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class FileMedium:
    """A Medium in a file or on a block device.

    Whoever writes holds it alone: another pvefi is refused, and so is a QEMU that would write to it.
    UsageError says why it cannot be opened, ReadOnlyError that it can be for reading.
    """

    def __init__(self, path: Path, *, writable: bool = True) -> None:
        self.name = str(path)
        self.writable = writable
        self._path = path.absolute()
        self._present = False
        flags = (os.O_RDWR if writable else os.O_RDONLY) | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
        if writable and path.is_block_device():
            flags |= os.O_EXCL  # refuses what is mounted, and by which name ever a second user: open(2)
        try:
            self._descriptor = os.open(path, flags)
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno == errno.EBUSY:
                raise self._in_use() from error
            reason = error.strerror if isinstance(error, OSError) else str(error)
            if writable and isinstance(error, OSError) and error.errno in _READ_ONLY and _is_readable(path):
                what = f"{_WHAT} that can be written"
                raise ReadOnlyError(f"{path}: expected {what}, found: {reason}") from error
            missing = isinstance(error, FileNotFoundError)
            raise UsageError(f"{path}: expected {_WHAT}, found: {reason}", _NEW if missing else "") from error
        try:
            mode = os.fstat(self._descriptor).st_mode
            if not stat.S_ISREG(mode) and not stat.S_ISBLK(mode):
                raise UsageError(f"{path}: expected {_WHAT}, found {kind_of_file(mode)}")
            self.fixed_size = stat.S_ISREG(mode)
            if writable and not self.fixed_size and self._is_set_read_only():
                raise ReadOnlyError(f"{path}: expected {_WHAT} that can be written, found: Read-only device")
            self._lock()
            self._size = os.lseek(self._descriptor, 0, os.SEEK_END)
        except BaseException:
            os.close(self._descriptor)
            raise

    def _is_set_read_only(self) -> bool:
        """Whether writes to the block device would fail; opening it does not."""
        return any(fcntl.ioctl(self._descriptor, _BLKROGET, bytes(4)))

    def _lock(self) -> None:
        # Locks of open files, as QEMU takes them, and as it looks for them: on bytes from 100 on. A reader
        # holds one byte only, which no QEMU minds.
        kind, length = (fcntl.F_WRLCK, 0) if self.writable else (fcntl.F_RDLCK, 1)
        try:
            fcntl.fcntl(
                self._descriptor,
                fcntl.F_OFD_SETLK,
                struct.pack("@hhqqi0q", kind, os.SEEK_SET, 0, length, 0),
            )
        except OSError as error:
            if error.errno in _HELD:
                raise self._in_use() from error
            raise UsageError(f"{self.name}: cannot be locked: {error.strerror}") from error

    def _in_use(self) -> UsageError:
        device = self._path.is_block_device()
        return UsageError(
            f"{self.name}: expected a variable store that nobody else uses, found it in use",
            f"{'it is mounted, or ' if device else ''}another pvefi or QEMU has it open",
        )

    def read(self, limit: int) -> bytes:
        """Return what is there, `limit` bytes at most; StoreError when that fails."""
        parts: list[bytes] = []
        done = 0
        try:
            while done < limit and (part := os.pread(self._descriptor, limit - done, done)):
                parts.append(part)
                done += len(part)
        except OSError as error:
            raise self._refusal("read", error) from error
        return b"".join(parts)

    def write(self, offset: int, data: bytes) -> None:
        """Write `data`; StoreError when that fails, or when the file is not the one any more that it was."""
        left = memoryview(data)
        try:
            if not self._present:  # once between two syncs
                self._check_presence()
                self._present = True
            while left:
                count = os.pwrite(self._descriptor, left, offset)
                left, offset = left[count:], offset + count
        except OSError as error:
            raise self._refusal("write", error) from error

    def _check_presence(self) -> None:
        if not self.fixed_size:
            return
        found = os.fstat(self._descriptor)
        try:
            if not os.path.samestat(found, self._path.stat()):
                raise StoreError(StoreFault.DEVICE, f"{self.name}: another file is in the place of the store")
        except FileNotFoundError as error:
            raise StoreError(
                StoreFault.DEVICE, f"{self.name}: the variable store was deleted or moved"
            ) from error
        if found.st_size != self._size:
            raise StoreError(
                StoreFault.DEVICE,
                f"{self.name}: the variable store had {self._size} bytes, now it has {found.st_size}",
            )

    def sync(self) -> None:
        """Return when all that was written lasts; StoreError when that fails."""
        self._present = False
        try:
            os.fdatasync(self._descriptor)
        except OSError as error:
            raise self._refusal("write", error) from error

    def _refusal(self, verb: str, error: OSError) -> StoreError:
        fault = StoreFault.DEVICE
        if verb == "write" and error.errno in _FULL:
            fault = StoreFault.FULL
        elif verb == "write" and error.errno in _READ_ONLY:
            fault = StoreFault.READ_ONLY
        return StoreError(fault, f"{self.name}: cannot {verb} the variable store: {error.strerror}")

    def close(self) -> None:
        """Close the file, and let others have it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _is_readable(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return (stat.S_ISREG(mode) or stat.S_ISBLK(mode)) and os.access(path, os.R_OK)
