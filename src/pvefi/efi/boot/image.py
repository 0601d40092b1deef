# SPDX-License-Identifier: GPL-2.0-or-later
"""Image services — UEFI 2.10 §7.4."""

from __future__ import annotations

from pvefi.efi.environment import Environment, Phase
from pvefi.efi.errors import EfiError
from pvefi.efi.notify import notify_due
from pvefi.efi.service import UINTN, ExitImage, Handle, Pointer, Steps, service
from pvefi.efi.staging import StagedMemory
from pvefi.guest.mailbox import MailboxLayout
from pvefi.spec.uefi import guids
from pvefi.spec.uefi.status import EFI_STATUS, EfiStatus

__all__ = ["end_boot_services", "exit_boot_services", "exit_image"]


@service("Exit", "UEFI 2.10 §7.4.5")
def exit_image(
    efi: Environment,
    image_handle: Handle,
    exit_status: EFI_STATUS,
    exit_data_size: UINTN,
    exit_data: Pointer,
) -> ExitImage:
    """Leave a started image; does not return to its caller.

    INVALID_PARAMETER: `image_handle` is no image that was started.
    """
    if image_handle not in efi.images:
        raise EfiError(EfiStatus.INVALID_PARAMETER, f"{image_handle:#x} is no image that was started")
    return ExitImage(image_handle, exit_status)


@service("ExitBootServices", "UEFI 2.10 §7.4.6")
def exit_boot_services(efi: Environment, image_handle: Handle, map_key: UINTN) -> Steps[None]:
    """End boot services; the caller owns all memory that is not runtime memory from here on.

    INVALID_PARAMETER: `image_handle` is no loaded image, or `map_key` is not the current memory map's.
    """
    if image_handle not in efi.images:
        raise EfiError(EfiStatus.INVALID_PARAMETER, f"{image_handle:#x} is no loaded image")
    # UEFI 2.10 §7.1.2: this group is notified before anything is shut down, and may still change the
    # memory map; a call repeated after a stale key does not notify it again.
    if not efi.exit_announced:
        efi.exit_announced = True
        efi.events.signal_group(guids.EVENT_GROUP_BEFORE_EXIT_BOOT_SERVICES)
        yield from notify_due(efi)
    # "If MapKey is incorrect ... GetMemoryMap() must be called to get the current key": nothing has
    # been shut down, so every service still answers, as under EDK2.
    if map_key != efi.pages.key:
        raise EfiError(
            EfiStatus.INVALID_PARAMETER, f"the map key is stale: expected {efi.pages.key}, found {map_key}"
        )
    efi.events.stop_timers()
    efi.events.signal_group(guids.EVENT_GROUP_EXIT_BOOT_SERVICES)
    yield from notify_due(efi)
    efi.memory = end_boot_services(efi)
    efi.surroundings.boot_services_end()
    efi.surroundings.kernel_may_start(tuple(image.base for image in efi.images.values()))


def end_boot_services(efi: Environment) -> StagedMemory:
    """Leave all but runtime memory to the guest; return what it has to store when it knows of that."""
    if efi.memory_attributes is not None:
        efi.memory_attributes.renew()
    efi.final_memory_map = efi.pages.descriptors()
    efi.phase = Phase.RUNTIME
    efi.tables.leave_boot_services()
    if not efi.profile.stays:
        efi.tables.use_runtime_stub(efi.trampoline.symbols["unsupported"])
    # From the moment at which the guest has this answer, and no sooner, it goes on when others fail to come.
    staged = StagedMemory(efi.physical)
    staged.write(efi.trampoline.symbols["mailbox"] + MailboxLayout.offset_of("abandon"), bytes(8))
    return staged
