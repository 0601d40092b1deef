# SPDX-License-Identifier: GPL-2.0-or-later
"""The files that a guest has open on the volume that the host serves, by the address of their interface."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pvefi.efi.errors import EfiError
from pvefi.efi.host_directory import HostDirectory, HostFile
from pvefi.spec.uefi.status import EfiStatus

__all__ = ["OpenFile", "Volume"]

_FILES_AT_MOST = 256
"""More than any program has open at once, and fewer than a process may have by default."""
_NAMES_AT_MOST = 1 << 18
"""So many names are kept of all directories that are being read together."""


@dataclass
class OpenFile:
    """A file or directory that the guest has open, and how far it has read it.

    `position` counts bytes, or the entries of a directory; `names` is what a directory has, once asked for.
    """

    file: HostFile
    position: int = 0
    names: tuple[str, ...] | None = None


@dataclass
class Volume:
    """A directory of the host as one boot of a guest sees it."""

    directory: HostDirectory
    files: dict[int, OpenFile] = field(default_factory=dict)

    def file(self, this: int) -> OpenFile:
        """Return the file behind the interface at `this` (guest); EfiError INVALID_PARAMETER for none."""
        found = self.files.get(this)
        if found is None:
            raise EfiError(EfiStatus.INVALID_PARAMETER, f"{this:#x} is not, or no longer, an open file")
        return found

    def open(self, path: Sequence[str]) -> HostFile:
        """Open what `path` leads to; OSError as the host refuses, EfiError OUT_OF_RESOURCES."""
        if len(self.files) >= _FILES_AT_MOST:
            raise EfiError(EfiStatus.OUT_OF_RESOURCES, f"{_FILES_AT_MOST} files are open already")
        return self.directory.open(path)

    def add(self, this: int, file: HostFile) -> None:
        """Take `file` as what the interface at `this` (guest) stands for."""
        self.drop(this)
        self.files[this] = OpenFile(file)

    def drop(self, this: int) -> None:
        """Close what the interface at `this` stands for, if it is anything."""
        gone = self.files.pop(this, None)
        if gone is not None:
            gone.file.close()

    def names(self, opened: OpenFile) -> tuple[str, ...]:
        """Return the names in a directory, as they were when it was first asked for; OSError."""
        if opened.names is None:
            held = sum(len(other.names or ()) for other in self.files.values())
            opened.names = opened.file.names(_NAMES_AT_MOST - held)
        return opened.names
