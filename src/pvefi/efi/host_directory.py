# SPDX-License-Identifier: GPL-2.0-or-later
"""A directory of the host as a guest may see it: every path is found in it, and none leads out of it.

Names are looked up one by one from the directory's own descriptor, and a symbolic link is followed by what it
says, from where it stands: whoever renames or replaces things meanwhile gains nothing. Refusals are OSErrors;
what they mean to the guest is for the file protocol to say.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pvefi.errors import UsageError
from pvefi.files import kind_of_file

__all__ = ["AboveRootError", "HostDirectory", "HostFile"]

_SEARCHED_AT_MOST = 64
"""Directories that one path has searched for a name that differs in case: each costs a listing."""
_LINKS_AT_MOST = 40  # as Linux itself, include/linux/namei.h MAXSYMLINKS
_VIEWS_AT_ONCE = 1024  # Linux include/uapi/linux/uio.h UIO_MAXIOV
_COPIED_AT_ONCE = 1 << 20
_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class AboveRootError(OSError):
    """A path that would lead above the directory that is served."""


@dataclass(eq=False)
class HostFile:
    """An open file or directory; `path` are the names that lead to it, as the host spells them."""

    descriptor: int
    path: tuple[str, ...]
    is_directory: bool
    directory: HostDirectory

    def status(self) -> os.stat_result:
        """Return what the host says of it now."""
        return os.fstat(self.descriptor)

    def read_into(self, views: Sequence[memoryview], offset: int) -> int:
        """Fill `views` one after the other from `offset` on and return the bytes read: fewer at its end."""
        rest = [view for view in views if len(view)]
        done = 0
        while rest:
            count = self._read(rest[:_VIEWS_AT_ONCE], offset + done)
            if not count:
                break
            done += count
            while rest and count >= len(rest[0]):
                count -= len(rest.pop(0))
            if count:
                rest[0] = rest[0][count:]
        return done

    def _read(self, views: Sequence[memoryview], offset: int) -> int:
        try:
            return os.preadv(self.descriptor, views, offset)
        except OSError as error:
            if error.errno != errno.EFAULT:
                raise
        # Some file systems cannot read into another domain's memory: this kernel has no pages for it.
        data = os.pread(self.descriptor, min(len(views[0]), _COPIED_AT_ONCE), offset)
        views[0][: len(data)] = data
        return len(data)

    def names(self, at_most: int) -> tuple[str, ...]:
        """Return the names in this directory, sorted; OSError ENOMEM where there are more than `at_most`."""
        found: list[str] = []
        with os.scandir(self.descriptor) as entries:
            for entry in entries:
                if len(found) == at_most:
                    raise OSError(errno.ENOMEM, f"more than {at_most} names")
                found.append(entry.name)
        return tuple(sorted(found))

    def close(self) -> None:
        """Let go of it; no harm a second time."""
        if self in self.directory.open_files:
            self.directory.open_files.discard(self)
            os.close(self.descriptor)


class HostDirectory:
    """The directory itself; UsageError when `path` is none that can be read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.open_files: set[HostFile] = set()
        try:
            mode = path.stat().st_mode
            if not stat.S_ISDIR(mode):
                raise UsageError(f"{path}: expected a directory to serve, found {kind_of_file(mode)}")
            self._root = os.open(path, _READ | os.O_DIRECTORY)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise UsageError(f"{path}: expected a directory to serve, found: {reason}") from error

    def open(self, path: Sequence[str]) -> HostFile:
        """Open what `path` leads to, from the top and with . and .. in it; upper and lower case are alike.

        A name that is there as it is spelled goes before those that differ in case. OSError: AboveRootError,
        PermissionError for a link that leads out of the directory, and for what is neither file nor
        directory, and whatever else the host says.
        """
        with _Walk(self._root) as walk:
            walk.follow(path)
            made = HostFile(*walk.opened(), self)
        self.open_files.add(made)
        return made

    def status(self, path: Sequence[str]) -> os.stat_result:
        """Return what the host says of the file or directory at `path`; OSError as for `open`."""
        with _Walk(self._root) as walk:
            walk.follow(path)
            return walk.status()

    def size(self) -> int:
        """Return how many bytes the file system that it is on has in all."""
        found = os.fstatvfs(self._root)
        return found.f_blocks * found.f_frsize

    def close_files(self) -> None:
        """Let go of all files that are open."""
        for file in tuple(self.open_files):
            file.close()

    def close(self) -> None:
        """Let go of the files and the directory."""
        self.close_files()
        if self._root >= 0:
            os.close(self._root)
            self._root = -1


class _Walk:
    """A way down from a directory: the descriptors and names of all that is passed."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._passed: list[tuple[int, str]] = []
        self._searched = 0

    def __enter__(self) -> _Walk:
        return self

    def __exit__(self, *_error: object) -> None:
        for descriptor, _ in self._passed:
            os.close(descriptor)

    @property
    def _here(self) -> int:
        return self._passed[-1][0] if self._passed else self._root

    def status(self) -> os.stat_result:
        """Return what the way has led to; PermissionError where that is neither file nor directory."""
        found = os.fstat(self._here)
        if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
            raise PermissionError(errno.EACCES, f"it is {kind_of_file(found.st_mode)}")
        return found

    def opened(self) -> tuple[int, tuple[str, ...], bool]:
        """Return a descriptor for reading, the names that lead here, and whether this is a directory."""
        is_directory = stat.S_ISDIR(self.status().st_mode)
        # By the descriptor, not by the name: that may be something else by now.
        descriptor = os.open(f"/proc/self/fd/{self._here}", _READ)
        return descriptor, tuple(name for _, name in self._passed), is_directory

    def follow(self, path: Sequence[str]) -> None:
        """Go where `path` leads."""
        pending = [(name, False) for name in reversed(path)]
        links = 0
        while pending:
            name, linked = pending.pop()
            if name == "..":
                self._up(linked=linked)
            elif name not in ("", "."):
                self._down(name)
                target = self._link()
                if target is not None:
                    links += 1
                    if links > _LINKS_AT_MOST:
                        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
                    pending += [(part, True) for part in reversed(target)]

    def _up(self, *, linked: bool) -> None:
        if not self._passed:
            if linked:
                raise _leads_out()
            raise AboveRootError(errno.EINVAL, "the path leads above the directory that is served")
        os.close(self._passed.pop()[0])

    def _down(self, name: str) -> None:
        if "/" in name or "\0" in name:
            raise FileNotFoundError(errno.ENOENT, "no name of the host has such a character")
        try:
            found = os.open(name, _LOOK, dir_fd=self._here)
        except FileNotFoundError:
            name = self._alike(name)
            found = os.open(name, _LOOK, dir_fd=self._here)
        except UnicodeEncodeError as error:
            raise FileNotFoundError(errno.ENOENT, "no name of the host can be spelled so") from error
        self._passed.append((found, name))

    def _alike(self, name: str) -> str:
        """Return the first name here that differs in case alone; FileNotFoundError where there is none."""
        self._searched += 1
        if self._searched > _SEARCHED_AT_MOST:
            raise OSError(errno.ENAMETOOLONG, f"more than {_SEARCHED_AT_MOST} names that differ in case")
        wanted = name.lower()
        with self._listing() as entries:
            found = min((entry.name for entry in entries if entry.name.lower() == wanted), default=None)
        if found is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        return found

    @contextmanager
    def _listing(self) -> Iterator[Iterator[os.DirEntry[str]]]:
        descriptor = os.open(".", _READ | os.O_DIRECTORY, dir_fd=self._here)
        try:
            with os.scandir(descriptor) as entries:
                yield entries
        finally:
            os.close(descriptor)

    def _link(self) -> list[str] | None:
        """Return where the symbolic link here leads, and go back to where it stands; None for no link."""
        descriptor, _ = self._passed[-1]
        if not stat.S_ISLNK(os.fstat(descriptor).st_mode):
            return None
        target = os.readlink("", dir_fd=descriptor)
        if target.startswith("/"):
            raise _leads_out()
        os.close(self._passed.pop()[0])
        return target.split("/")


def _leads_out() -> PermissionError:
    return PermissionError(errno.EACCES, "a symbolic link leads out of the directory that is served")
