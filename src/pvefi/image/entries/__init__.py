# SPDX-License-Identifier: GPL-2.0-or-later
"""Finds the ways into an image: each with its address, the state it demands, and the path it takes.

The path is two facts: what happens to the decompressor in a bzImage, and where the kernel proper is entered.
What only running the image can tell is said to be so. One file a family of entries.
"""

from __future__ import annotations

from dataclasses import replace

from pvefi.image.entries.arm64 import arm64_entries
from pvefi.image.entries.efi import efi_entries
from pvefi.image.entries.linux import linux_entries
from pvefi.image.entries.multiboot import multiboot_entries
from pvefi.image.entries.xen import xen_entries
from pvefi.image.model import Contents, Entry

__all__ = ["find_entries"]


def find_entries(contents: Contents) -> tuple[Entry, ...]:
    """Return the entries of an image with these contents, those of EFI first."""
    found = [
        *efi_entries(contents),
        *linux_entries(contents),
        *xen_entries(contents),
        *multiboot_entries(contents),
        *arm64_entries(contents),
    ]
    if contents.wrapper is None:
        return tuple(found)
    remark = f"the loader decompresses the file ({contents.wrapper.compression})"
    return tuple(
        replace(entry, file_offset=None, remark="; ".join(filter(None, (remark, entry.remark))))
        for entry in found
    )
