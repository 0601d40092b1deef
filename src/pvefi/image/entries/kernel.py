# SPDX-License-Identifier: GPL-2.0-or-later
"""What several families of entries say of the kernel proper in an image."""

from __future__ import annotations

from pvefi.image.model import Contents
from pvefi.image.vmlinux import Vmlinux
from pvefi.spec.xen.elfnote import XenElfNote

__all__ = ["has_decompressor", "is_linux", "kernel_entry"]


def has_decompressor(contents: Contents) -> bool:
    """Whether there is a decompressor: memtest86+ and iPXE have the header, but no payload."""
    return contents.bzimage is not None and bool(contents.bzimage.header.payload_length)


def kernel_entry(contents: Contents) -> str:
    """Return the name of the kernel proper's own entry; empty where there is no kernel proper."""
    if contents.vmlinux is None:
        return ""
    return "startup_64" if contents.vmlinux.is_64bit else "startup_32"


def is_linux(vmlinux: Vmlinux) -> bool:
    """Whether the notes show that the ELF is Linux."""
    guest = vmlinux.xen_note(XenElfNote.GUEST_OS)
    return (guest is not None and guest.value == "linux") or any(n.owner == "Linux" for n in vmlinux.notes)
