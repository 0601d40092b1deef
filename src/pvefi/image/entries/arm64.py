# SPDX-License-Identifier: GPL-2.0-or-later
"""The entry of an arm64 kernel Image (Linux booting.rst)."""

from __future__ import annotations

from collections.abc import Iterator

from pvefi.image.model import AddressKind, Contents, Decompressor, Entry, EntryKind
from pvefi.spec.linux.arm64_image import BASE_ALIGNMENT

__all__ = ["arm64_entries"]


def arm64_entries(contents: Contents) -> Iterator[Entry]:
    """Yield the entry at the start of an arm64 Image, if it is one."""
    image = contents.arm64
    if image is None:
        return
    where = "anywhere" if image.placed_anywhere else "as low in memory as can be"
    room = f", {image.image_size:#x} bytes free from there" if image.image_size else ""
    yield Entry(
        kind=EntryKind.ARM64,
        bits=64,
        address=0,
        address_kind=AddressKind.LOAD_OFFSET,
        file_offset=0,
        demands=(
            f"the image {image.text_offset:#x} from a base aligned to {BASE_ALIGNMENT:#x}, {where}{room}",
            "non-secure EL2 (better) or EL1, MMU off, the image cleaned to the PoC, DAIF masked, DMA quiet",
            "x0: device tree (8-byte aligned, at most 2 MiB); x1, x2, x3: 0",
        ),
        source='Linux booting.rst "4. Call the kernel image"',
        decompressor=Decompressor.NONE,
        kernel_entry="code0",
    )
