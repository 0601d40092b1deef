# SPDX-License-Identifier: GPL-2.0-or-later
"""Opens the files that a user names, with a clear line for each way in which that fails.

Opening never waits: a FIFO without its other end is refused, not waited for.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import stat
from pathlib import Path
from typing import BinaryIO

from pvefi.errors import UsageError

__all__ = ["create_file", "kind_of_file", "open_file", "own_folder", "put_file", "read_file", "replace_file"]

_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def kind_of_file(mode: int) -> str:
    """Return in words what a file of this `st_mode` is."""
    match stat.S_IFMT(mode):
        case stat.S_IFREG:
            return "a file"
        case stat.S_IFDIR:
            return "a directory"
        case stat.S_IFIFO:
            return "a pipe"
        case stat.S_IFSOCK:
            return "a socket"
        case _:
            return "a device"


def open_file(path: Path, what: str, *, follow: bool = True) -> BinaryIO:
    """Open the regular file `path` for reading; UsageError when it is none or cannot be read.

    `what` names the file's role, such as "an initial ramdisk". Without `follow` a symbolic link is none.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags)
    except (OSError, ValueError) as error:
        raise _refusal(path, what, error) from error
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise UsageError(f"{path}: expected {what}, found {kind_of_file(mode)}")
    return os.fdopen(descriptor, "rb")


def read_file(path: Path, what: str, *, less_than: int, way_out: str) -> memoryview:
    """Return the bytes of `path`, which may change afterwards: they are copied, once, outside the heap.

    UsageError says why the file cannot be read, that it is empty, or that it has not `less_than` bytes; then
    `way_out` says what may help.
    """
    with open_file(path, what) as file:
        size = os.fstat(file.fileno()).st_size
        if not size:
            raise UsageError(f"{path}: expected {what}, found an empty file")
        if size >= less_than:
            unit, bits = ("MiB", 20) if less_than >> 20 else ("KiB", 10)
            expected = f"{what} of less than {less_than >> bits} {unit}"
            raise UsageError(f"{path}: expected {expected}, found {size >> bits} {unit}", way_out)
        copy = os.memfd_create("pvefi", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            try:
                copied = _copy(file.fileno(), copy, size)
            except OSError as error:
                raise _refusal(path, what, error) from error
            if copied < size:
                raise UsageError(
                    f"{path}: expected {what} of {size} bytes, found {copied}: it is being changed"
                )
            fcntl.fcntl(copy, fcntl.F_ADD_SEALS, _SEALS)
            # Linux before 6.7 refuses shared mappings of what is sealed; a private one copies nothing either.
            return memoryview(mmap.mmap(copy, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ))
        finally:
            os.close(copy)


def _copy(source: int, target: int, size: int) -> int:
    """Copy up to `size` bytes within the kernel and return how many there were."""
    done = 0
    while done < size:
        count = os.sendfile(target, source, None, size - done)
        if not count:
            break
        done += count
    return done


def create_file(path: Path) -> BinaryIO:
    """Open `path` for writing, empty; OSError when it refuses.

    Besides a regular file it may be a device, such as /dev/null, or a pipe that somebody reads.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    try:
        descriptor = os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno == errno.ENXIO and path.is_fifo():
            raise OSError(errno.ENXIO, "nobody reads this pipe") from error
        raise
    mode = os.fstat(descriptor).st_mode
    try:
        if stat.S_ISREG(mode):
            os.ftruncate(descriptor, 0)
        os.set_blocking(descriptor, True)
        return os.fdopen(descriptor, "wb")
    except BaseException:
        os.close(descriptor)
        raise


def replace_file(path: Path, data: bytes) -> None:
    """Write `data` to `path`, whole; OSError when that fails, and the old file stays.

    A device or a pipe has no old contents, and simply gets the data.
    """
    target = path.resolve()  # a symbolic link stays one
    if target.exists() and not target.is_file():
        with create_file(target) as stream:
            stream.write(data)
        return
    part = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with create_file(part) as stream:
            if target.exists():
                os.fchmod(stream.fileno(), stat.S_IMODE(target.stat().st_mode))
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def own_folder(path: Path) -> None:
    """Make the folder `path`, where it is not there; OSError when that fails, or it is a symbolic link."""
    if path.is_symlink():
        raise OSError(errno.ELOOP, f"expected a folder named {path.name}, found a symbolic link")
    path.mkdir(parents=True, exist_ok=True)


def put_file(path: Path, data: bytes) -> None:
    """Make `path` a regular file of this `data`, whole; OSError when that fails, and what was there stays.

    Unlike `replace_file` it follows no symbolic link and opens nothing that is there: for a folder that
    somebody else may have made. What stood there under that name, a link or a pipe too, is replaced.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(part, flags, 0o666), "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _refusal(path: Path, what: str, error: Exception) -> UsageError:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return UsageError(f"{path}: expected {what}, found: {reason}")
