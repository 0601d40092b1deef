# SPDX-License-Identifier: GPL-2.0-or-later
"""Loads a PE image into guest memory and gives it the protocols of a loaded image — UEFI 2.10 §9.1, §9.2."""

from __future__ import annotations

from dataclasses import dataclass

from pvefi.efi.environment import Environment, LoadedImage
from pvefi.efi.protocols import simple_file_system
from pvefi.errors import UsageError
from pvefi.image.pe import PeImage
from pvefi.image.pe_load import check_loadable, mapped_segments
from pvefi.memory import NamedRange
from pvefi.spec.uefi import device_path, guids
from pvefi.spec.uefi.memory import PAGE_SIZE, AllocateType, MemoryType
from pvefi.spec.uefi.protocols import LOADED_IMAGE_PROTOCOL_REVISION, LoadedImageProtocol

__all__ = ["ImageSource", "load"]

_LOWEST = 16 << 20  # below lie pvefi's own ranges and what real-mode trampolines want
_ALIGNMENT = 2 << 20  # kernels and Xen want a 2 MiB boundary whatever SectionAlignment says
_MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class ImageSource:
    """An image to load: `name` as a loader would see the file, its headers, its bytes, and its options.

    `file_path` is where on its volume the file stands, empty for right under the root. `keep_free` is a range
    that the image will itself ask for, such as a kernel's preferred address.
    """

    name: str
    pe: PeImage
    data: bytes
    load_options: str
    keep_free: NamedRange | None = None
    file_path: str = ""

    @property
    def wanted_memory(self) -> int:
        """Bytes of memory with which the image, and what it will ask for, have room."""
        top = (self.keep_free.end if self.keep_free else _LOWEST) + self.pe.size_of_image
        return -(-(top + _LOWEST) // _LOWEST) * _LOWEST


def load(efi: Environment, source: ImageSource) -> LoadedImage:
    """Place `source` in guest memory and install its handle's protocols.

    ImageError when it cannot be loaded, UsageError when the guest has too little memory for it.
    """
    pe = source.pe
    check_loadable(pe)
    pages = -(-pe.size_of_image // PAGE_SIZE)
    base = _choose(efi, source, pages, max(_ALIGNMENT, pe.section_alignment))
    efi.pages.allocate(AllocateType.ADDRESS, MemoryType.LOADER_CODE, pages, base, name=source.name)
    efi.physical.fill(base, pages * PAGE_SIZE)
    for segment in mapped_segments(pe, source.data, base):
        efi.physical.write(base + segment.rva, segment.data)
    device = _device(efi)
    file_path = device_path.file_path(source.file_path or f"\\{source.name}") + device_path.END
    options = f"{source.load_options}\0".encode("utf-16-le") if source.load_options else b""
    place = efi.boot_arena.place
    protocol = LoadedImageProtocol(
        revision=LOADED_IMAGE_PROTOCOL_REVISION,
        _pad=0,
        parent_handle=0,
        system_table=efi.tables.system_table,
        device_handle=device,
        file_path=place("FilePath", file_path),
        reserved=0,
        load_options_size=len(options),
        _pad2=0,
        load_options=place("LoadOptions", options) if options else 0,
        image_base=base,
        image_size=pe.size_of_image,
        image_code_type=MemoryType.LOADER_CODE,
        image_data_type=MemoryType.LOADER_DATA,
        unload=0,
    )
    interface = place("EFI_LOADED_IMAGE_PROTOCOL", protocol.pack())
    handle = efi.offer(0, (guids.LOADED_IMAGE_PROTOCOL, interface))
    if guids.LOADED_IMAGE_DEVICE_PATH_PROTOCOL in efi.profile.protocols:
        # UEFI 2.10 §9.2: "the full device path" with which the image was loaded.
        full = _device_node() + file_path
        efi.offer(handle, (guids.LOADED_IMAGE_DEVICE_PATH_PROTOCOL, place("image device path", full)))
    loaded = LoadedImage(handle, source.name, base, pe.size_of_image, base + pe.entry_rva)
    efi.images[handle] = loaded
    return loaded


def _device_node() -> bytes:
    return device_path.vendor_media(guids.PVEFI_HYPERVISOR_INFORMATION)


def _device(efi: Environment) -> int:
    """Return the handle of the device that images come from: the host, with a device path and its volume."""
    path = efi.boot_arena.place("host device path", _device_node() + device_path.END)
    device = efi.offer(0, (guids.DEVICE_PATH_PROTOCOL, path))
    simple_file_system.install(efi, device)
    return device


def _choose(efi: Environment, source: ImageSource, pages: int, alignment: int) -> int:
    """Return the lowest place that leaves free what the image will ask for, or else any place at all."""
    wish = source.keep_free
    starts = [_LOWEST, wish.end if wish else _LOWEST, _MEBIBYTE]
    size = pages * PAGE_SIZE
    fallback = None
    for start in starts:
        base = efi.pages.lowest_free(pages, minimum=start, alignment=alignment)
        if base is None:
            continue
        if wish is None or base + size <= wish.address or base >= wish.end:
            return base
        fallback = base if fallback is None else fallback
    if fallback is not None:
        return fallback
    free = sum(span.pages for span in efi.pages.spans if span.type == MemoryType.CONVENTIONAL)
    raise UsageError(
        f"{source.name}: expected {size >> 20} MiB of free memory in a row for the image, "
        f"the guest has {free * PAGE_SIZE >> 20} MiB in all",
        f"give the guest more memory, at least --memory {source.wanted_memory >> 20}M",
    )
