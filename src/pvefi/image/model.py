# SPDX-License-Identifier: GPL-2.0-or-later
"""What `inspect` says of a file: the frozen values that placement, entries and reports take."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pvefi.errors import UsageError
from pvefi.image.arm64 import Arm64Image, Zboot
from pvefi.image.bzimage import BzImage
from pvefi.image.multiboot import Multiboot, Multiboot2
from pvefi.image.payload import Payload, unwrapped
from pvefi.image.pe import PeImage
from pvefi.image.sbat import SbatEntry
from pvefi.image.signatures import Signature
from pvefi.image.uki import Unified
from pvefi.image.vmlinux import Vmlinux

__all__ = ["AddressKind", "Contents", "Decompressor", "Entry", "EntryKind", "Image"]


class EntryKind(StrEnum):
    """A way into an image, by the name that `--entry` takes."""

    EFI = "efi"
    EFI32 = "efi32"
    EFI_ARM64 = "efi-arm64"
    EFI_HANDOVER = "efi-handover"
    LINUX16 = "linux16"
    LINUX32 = "linux32"
    LINUX64 = "linux64"
    KEXEC = "kexec"
    PVH = "pvh"
    XEN_PV = "xen-pv"
    MULTIBOOT = "multiboot"
    MULTIBOOT2 = "multiboot2"
    ARM64 = "arm64"


class AddressKind(StrEnum):
    """What an entry's address is relative to."""

    RVA = "rva"  # from where the PE image is loaded
    LOAD_OFFSET = "load-offset"  # from where the protected-mode code is loaded
    SETUP_OFFSET = "setup-offset"  # from where the boot sector is loaded
    PHYSICAL = "physical"
    VIRTUAL = "virtual"


class Decompressor(StrEnum):
    """What an entry does with the decompressor in a bzImage, its own startup_32 or startup_64.

    Or with the one in a zboot image, which is its EFI entry.
    """

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """The containers and headers found in a file; a bzImage of Linux has most of them at once.

    With a `wrapper` the file is compressed as a whole, and all else is about what is in it.
    """

    wrapper: Payload | None = None
    pe: PeImage | None = None
    bzimage: BzImage | None = None
    payload: Payload | None = None
    vmlinux: Vmlinux | None = None
    arm64: Arm64Image | None = None
    zboot: Zboot | None = None
    multiboot: Multiboot | None = None
    multiboot2: Multiboot2 | None = None
    unified: Unified | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Image(Contents):
    """A kernel or EFI program; `kind` says what it is in a few words.

    One inside another image says by `inside` where, such as ".linux"; its offsets count from its own start.
    `sha256` is empty where only the start of an image was decompressed. `relocation_count` is None where base
    relocations were not counted: there, in files that are no PE image, and for machines with other types.
    """

    path: Path
    size: int
    sha256: str
    kind: str
    entries: tuple[Entry, ...]
    relocation_count: int | None = None
    signatures: tuple[Signature, ...] = ()
    sbat: tuple[SbatEntry, ...] = ()
    inside: str = ""
    embedded: tuple[Image, ...] = ()

    def entry(self, kind: EntryKind, bits: int | None = None) -> Entry | None:
        """Return the entry of this kind (and CPU mode)."""
        return next((e for e in self.entries if e.kind == kind and bits in (None, e.bits)), None)

    def read(self) -> bytes:
        """Return the bytes that were inspected; UsageError when the file is no longer the same.

        Those of a compressed file are what it decompresses to. An image inside another has no file.
        """
        assert not self.inside, "only a file can be read"
        try:
            data = self.path.read_bytes()
        except OSError as error:
            raise UsageError(f"{self.path}: cannot be read any more: {error.strerror}") from error
        if len(data) != self.size or hashlib.sha256(data).hexdigest() != self.sha256:
            raise UsageError(f"{self.path}: changed since it was inspected", "run the command again")
        return unwrapped(str(self.path), data)[1] if self.wrapper is not None else data
