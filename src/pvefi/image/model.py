# SPDX-License-Identifier: GPL-2.0-or-later
"""What `inspect` says of a file: the frozen values that placement, entries and reports take."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pvefi.errors import UsageError
from pvefi.image.bzimage import BzImage
from pvefi.image.payload import Payload
from pvefi.image.pe import PeImage
from pvefi.image.vmlinux import Vmlinux

__all__ = ["AddressKind", "Decompressor", "Entry", "EntryKind", "Image"]


class EntryKind(StrEnum):
    """A way into an image, by the name that `--entry` takes."""

    EFI = "efi"
    EFI32 = "efi32"
    EFI_HANDOVER = "efi-handover"
    LINUX16 = "linux16"
    LINUX32 = "linux32"
    LINUX64 = "linux64"
    PVH = "pvh"
    XEN_PV = "xen-pv"


class AddressKind(StrEnum):
    """What an entry's address is relative to."""

    RVA = "rva"  # from where the PE image is loaded
    LOAD_OFFSET = "load-offset"  # from where the protected-mode code is loaded
    SETUP_OFFSET = "setup-offset"  # from where the boot sector is loaded
    PHYSICAL = "physical"
    VIRTUAL = "virtual"


class Decompressor(StrEnum):
    """What an entry does with the decompressor in a bzImage, its own startup_32 or startup_64."""

    ENTERED = "entered"
    BYPASSED = "bypassed"
    UNTOLD = "untold"  # the EFI stub decides; only running it shows
    NONE = "none"  # the image has none


@dataclass(frozen=True, slots=True)
class Entry:
    """One way into an image: where it is, what state it demands, and by which path the kernel runs."""

    kind: EntryKind
    bits: int
    address: int
    address_kind: AddressKind
    file_offset: int | None
    demands: tuple[str, ...]
    source: str
    decompressor: Decompressor
    kernel_entry: str
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Image:
    """A kernel or EFI program file; `kind` says what it is in a few words."""

    path: Path
    size: int
    sha256: str
    kind: str
    pe: PeImage | None
    bzimage: BzImage | None
    payload: Payload | None
    vmlinux: Vmlinux | None
    entries: tuple[Entry, ...]

    def entry(self, kind: EntryKind, bits: int | None = None) -> Entry | None:
        """Return the entry of this kind (and CPU mode)."""
        return next((e for e in self.entries if e.kind == kind and bits in (None, e.bits)), None)

    def read(self) -> bytes:
        """Return the file's bytes; UsageError when it is no longer the file that was inspected."""
        try:
            data = self.path.read_bytes()
        except OSError as error:
            raise UsageError(f"{self.path}: cannot be read any more: {error.strerror}") from error
        if len(data) != self.size or hashlib.sha256(data).hexdigest() != self.sha256:
            raise UsageError(f"{self.path}: changed since it was inspected", "run the command again")
        return data
