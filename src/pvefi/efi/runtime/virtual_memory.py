# SPDX-License-Identifier: GPL-2.0-or-later
"""Virtual memory services — UEFI 2.10 §8.4: the firmware moves into the operating system's address space.

What has pointers to move is little: the runtime services table, the system table, and the one literal by
which the gates find their mailbox. All of it is data, and lies at the same physical addresses afterwards.
"""

from __future__ import annotations

from pvefi.efi.environment import Environment, Phase
from pvefi.efi.errors import EfiError
from pvefi.efi.service import UINT32, UINTN, InOut, Pointer, Steps, service
from pvefi.efi.virtual_map import VirtualMap
from pvefi.guest.mailbox import Upcall
from pvefi.spec.uefi import guids
from pvefi.spec.uefi.memory import (
    EFI_MEMORY_DESCRIPTOR_VERSION,
    PAGE_SIZE,
    MemoryAttribute,
    MemoryDescriptor,
)
from pvefi.spec.uefi.status import EfiStatus
from pvefi.trace.events import Address

__all__ = ["convert_pointer", "relocate", "set_virtual_address_map"]

EFI_OPTIONAL_PTR = 0x1  # UEFI 2.10 §8.4.2
_DESCRIPTORS_AT_MOST = 1 << 14  # a guest's map has tens; a host must not be kept busy with millions
_LARGEST_DESCRIPTOR = 256  # edk2's have 48 bytes: nothing is in the rest of one that pvefi could use


@service("SetVirtualAddressMap", "UEFI 2.10 §8.4.1")
def set_virtual_address_map(
    efi: Environment,
    memory_map_size: UINTN,
    descriptor_size: UINTN,
    descriptor_version: UINT32,
    virtual_map: Pointer,
) -> Steps[None]:
    """Take the virtual addresses of runtime memory, and use them from the next call on; once in a boot.

    UNSUPPORTED: boot services have not ended, or it was called before. INVALID_PARAMETER: the descriptors'
    size or version is not understood, or there are none. NO_MAPPING: runtime memory without a virtual
    address. NOT_FOUND: a range that is not in the memory map.
    """
    if efi.phase is not Phase.RUNTIME:
        raise EfiError(EfiStatus.UNSUPPORTED, "boot services have not ended")
    if efi.has_virtual_addresses:
        raise EfiError(EfiStatus.UNSUPPORTED, "virtual addresses were set before")
    sizes = range(MemoryDescriptor.SIZE, _LARGEST_DESCRIPTOR + 1)
    if descriptor_version != EFI_MEMORY_DESCRIPTOR_VERSION or descriptor_size not in sizes:
        raise EfiError(
            EfiStatus.INVALID_PARAMETER,
            f"expected descriptors of version {EFI_MEMORY_DESCRIPTOR_VERSION} and of {sizes.start} to "
            f"{sizes.stop - 1} bytes, found version {descriptor_version} and {descriptor_size} bytes",
        )
    count = memory_map_size // descriptor_size
    if not virtual_map or not 0 < count <= _DESCRIPTORS_AT_MOST:
        raise EfiError(EfiStatus.INVALID_PARAMETER, f"a virtual address map of {count} descriptors")
    data = efi.memory.read(virtual_map, count * descriptor_size)
    given = VirtualMap([MemoryDescriptor.unpack(data, at * descriptor_size) for at in range(count)])
    given.check(efi.final_memory_map)
    efi.has_virtual_addresses = True
    efi.virtual_map = given
    try:
        yield from _notify(efi)
    finally:
        efi.virtual_map = None
    relocate(efi, given)


def relocate(efi: Environment, given: VirtualMap) -> None:
    """Use the virtual addresses of `given` from the guest's next call on."""
    efi.has_virtual_addresses = True
    efi.tables.relocate(given.convert)
    mailbox = given.convert(efi.trampoline.symbols["mailbox"])
    # Data to the guest, though it lies among code: the next call reads it, this one has read it before.
    efi.physical.write(efi.trampoline.symbols["mailbox_pointer"], mailbox.to_bytes(8, "little"))


def _notify(efi: Environment) -> Steps[None]:
    """Let the guest's own runtime code convert its pointers — UEFI 2.10 §7.1.2.

    A function outside runtime memory is not called: the operating system has its own data there by now.
    The task priority level went with boot services, and holds nothing back.
    """
    for notification in efi.events.notifications(guids.EVENT_GROUP_VIRTUAL_ADDRESS_CHANGE):
        if any(
            one.attribute & MemoryAttribute.RUNTIME
            and 0 <= notification.function - one.physical_start < one.number_of_pages * PAGE_SIZE
            for one in efi.final_memory_map
        ):
            yield Upcall(notification.function, (notification.event, notification.context))


@service("ConvertPointer", "UEFI 2.10 §8.4.2")
def convert_pointer(efi: Environment, debug_disposition: UINTN, address: InOut[Pointer]) -> None:
    """Convert a pointer to its virtual address, for those whom SetVirtualAddressMap() notifies.

    UNSUPPORTED: SetVirtualAddressMap() is not under way. INVALID_PARAMETER: the pointer is NULL, and not
    optional. NOT_FOUND: it points to no runtime memory.
    """
    if efi.virtual_map is None:
        raise EfiError(EfiStatus.UNSUPPORTED, "SetVirtualAddressMap is not under way")
    pointer = address.get()
    if pointer:
        address.set(Address(efi.virtual_map.convert(pointer)))
    elif not debug_disposition & EFI_OPTIONAL_PTR:
        raise EfiError(EfiStatus.INVALID_PARAMETER, "the pointer is NULL, and not optional")
