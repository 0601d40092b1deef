# SPDX-License-Identifier: GPL-2.0-or-later
"""A directory in which a process leaves, for its successor, what it takes to go on.

Each file is replaced as a whole, so that whenever its writer dies one version or the other is there. Nothing
is forced to a disk: what is served does not outlive the host either. Only the owner can read it.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from typing import Self

from pvefi.errors import MachineError, UsageError

__all__ = ["StateDirectory"]

_LARGEST = 16 << 20  # bytes of a file; a guest's memory map and variables take some tens of thousands
_LOCK = "lock"


class StateDirectory:
    """The directory `path`, which this process holds alone until `close` or its end."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def open(cls, path: Path, what: str) -> Self:
        """Return the directory, made where it is missing; UsageError where it is no private one, or is held.

        `what` is who is served by whoever holds it, for that message.
        """
        try:
            while (lock := _locked(path, what)) is None:
                pass  # it was discarded meanwhile, by whoever held it
        except OSError as error:
            raise UsageError(
                f"{path}: expected a directory for what is to be kept, found: {error.strerror}"
            ) from error
        return cls(path, lock)

    def save(self, name: str, value: object) -> None:
        """Put the JSON value into the file `name`, in place of what is there; MachineError if that fails."""
        new = self.path / f"{name}.new"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            with os.fdopen(os.open(new, flags, 0o600), "w", encoding="ascii") as file:
                json.dump(value, file, separators=(",", ":"))
            new.replace(self.path / name)
        except OSError as error:
            raise MachineError(
                f"{self.path / name}: expected room for what is to be kept, found: {error.strerror}"
            ) from error

    def load(self, name: str) -> object | None:
        """Return what the file `name` says, None where there is none; UsageError where it is no JSON."""
        path = self.path / name
        try:
            with path.open("rb") as file:
                data = file.read(_LARGEST + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
        if len(data) > _LARGEST:
            raise UsageError(f"{path}: expected at most {_LARGEST} bytes, found more")
        try:
            value: object = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{path}: expected what pvefi has saved, found no JSON: {error}") from error
        return value

    def remove(self, name: str) -> None:
        """Take the file `name` away, if it is there."""
        (self.path / name).unlink(missing_ok=True)

    def discard(self) -> None:
        """Take the directory away, with everything in it: nobody will go on."""
        gone = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        with suppress(OSError):
            self.path.rename(gone)  # at once: half of it would make no sense to the next
            shutil.rmtree(gone)
        self.close()

    def close(self) -> None:
        """Let another process have it."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _locked(path: Path, what: str) -> int | None:
    """Return the descriptor that holds the directory; None where another process took it away meanwhile."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
            raise UsageError(
                f"{path}: expected a directory that nobody else can enter, found another", "remove it"
            )
        lock = os.open(path / _LOCK, flags, 0o600)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(lock), (path / _LOCK).lstat()):
            return lock
    except BlockingIOError as error:
        os.close(lock)
        raise UsageError(
            f"{what}: expected one that nobody serves, found it served by another pvefi"
        ) from error
    except FileNotFoundError:
        pass
    os.close(lock)
    return None
