# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory allocation services — UEFI 2.10 §7.2, on the page map and the pools."""

from __future__ import annotations

from typing import Annotated

from pvefi.efi.environment import Environment
from pvefi.efi.errors import EfiError
from pvefi.efi.pages import DESCRIPTOR_SIZE
from pvefi.efi.service import UINT32, UINTN, InOut, Out, Pointer, service
from pvefi.layout import Scalar
from pvefi.spec.uefi import guids
from pvefi.spec.uefi.memory import EFI_MEMORY_DESCRIPTOR_VERSION, AllocateType, MemoryType
from pvefi.spec.uefi.status import EfiStatus
from pvefi.trace.events import Address

__all__ = [
    "allocate_pages",
    "allocate_pool",
    "allocate_result",
    "free_pages",
    "free_pool",
    "get_memory_map",
    "release_result",
]

_ALLOCATE_TYPE = Annotated[AllocateType, Scalar("I")]
_MEMORY_TYPE = Annotated[MemoryType, Scalar("I")]


def _signal_change(efi: Environment, key_before: int) -> None:
    """Signal the events that wait for a change of the memory map — UEFI 2.10 §7.1.2."""
    if efi.pages.key != key_before:
        efi.events.signal_group(guids.EVENT_GROUP_MEMORY_MAP_CHANGE)


@service("AllocatePages", "UEFI 2.10 §7.2.1")
def allocate_pages(
    efi: Environment,
    type_: _ALLOCATE_TYPE,
    memory_type: _MEMORY_TYPE,
    pages: UINTN,
    memory: InOut[Pointer],
) -> None:
    """Allocate `pages` pages of 4 KiB, and store their address in `memory`.

    INVALID_PARAMETER: `type_` or `memory_type` cannot be asked for, or `memory` is NULL.
    NOT_FOUND: the pages at the address asked for are not free. OUT_OF_RESOURCES: none are.
    """
    key = efi.pages.key
    address = efi.pages.allocate(type_, memory_type, pages, memory.get())
    memory.set(Address(address))
    _signal_change(efi, key)


@service("FreePages", "UEFI 2.10 §7.2.2")
def free_pages(efi: Environment, memory: Pointer, pages: UINTN) -> None:
    """Give back pages that AllocatePages() gave.

    NOT_FOUND: they were not allocated. INVALID_PARAMETER: `memory` is not page aligned, or `pages` is 0.
    """
    key = efi.pages.key
    efi.pages.free(memory, pages)
    _signal_change(efi, key)


@service("GetMemoryMap", "UEFI 2.10 §7.2.3")
def get_memory_map(
    efi: Environment,
    memory_map_size: InOut[UINTN],
    memory_map: Pointer,
    map_key: Out[UINTN] | None,
    descriptor_size: Out[UINTN] | None,
    descriptor_version: Out[UINT32] | None,
) -> None:
    """Store the memory map, and the key that ExitBootServices() wants to see.

    BUFFER_TOO_SMALL: the map does not fit; `memory_map_size` then holds its size.
    INVALID_PARAMETER: `memory_map_size` is NULL, or `memory_map` is although the map would fit.
    """
    if efi.memory_attributes is not None:
        efi.memory_attributes.renew()
    packed = efi.pages.packed()
    given = memory_map_size.get()
    # Callers that ask for the size alone rely on what EDK2 stores whatever the status: Linux v6.1 sizes its
    # buffer by DescriptorSize after EFI_BUFFER_TOO_SMALL.
    memory_map_size.set(len(packed))
    if map_key is not None:
        map_key.set(efi.pages.key)
    if descriptor_size is not None:
        descriptor_size.set(DESCRIPTOR_SIZE)
    if descriptor_version is not None:
        descriptor_version.set(EFI_MEMORY_DESCRIPTOR_VERSION)
    if given < len(packed):
        raise EfiError(
            EfiStatus.BUFFER_TOO_SMALL, f"the memory map takes {len(packed)} bytes, {given} are given"
        )
    if not memory_map:
        raise EfiError(EfiStatus.INVALID_PARAMETER, "MemoryMap is NULL")
    efi.memory.write(memory_map, packed)


@service("AllocatePool", "UEFI 2.10 §7.2.4")
def allocate_pool(efi: Environment, pool_type: _MEMORY_TYPE, size: UINTN, buffer: Out[Pointer]) -> None:
    """Allocate `size` bytes, and store their address in `buffer`.

    INVALID_PARAMETER: `pool_type` cannot be asked for, or `buffer` is NULL. OUT_OF_RESOURCES.
    """
    key = efi.pages.key
    buffer.set(Address(efi.pools.allocate(pool_type, size)))
    _signal_change(efi, key)


@service("FreePool", "UEFI 2.10 §7.2.5")
def free_pool(efi: Environment, buffer: Pointer) -> None:
    """Give back what AllocatePool() gave.

    INVALID_PARAMETER: `buffer` is not, or no longer, the address of such memory.
    """
    key = efi.pages.key
    efi.pools.free(buffer)
    _signal_change(efi, key)


def release_result(efi: Environment, address: int) -> None:
    """Take back what `allocate_result` gave; EfiError INVALID_PARAMETER where it was freed before."""
    key = efi.pages.key
    efi.pools.free(address)
    _signal_change(efi, key)


def allocate_result(efi: Environment, data: bytes) -> Address:
    """Return the address of `data` in pool memory that the caller of a service is to free.

    EfiError: OUT_OF_RESOURCES.
    """
    key = efi.pages.key
    address = Address(efi.pools.allocate(MemoryType.BOOT_SERVICES_DATA, len(data)))
    efi.memory.write(address, data)
    _signal_change(efi, key)
    return address
