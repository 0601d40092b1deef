# SPDX-License-Identifier: GPL-2.0-or-later
"""EFI_LOAD_FILE2_PROTOCOL for the initial ramdisk — UEFI 2.10 §13.2, linux/drivers/firmware/efi/libstub.

The stub finds it by a vendor media device path with LINUX_INITRD_MEDIA. The file itself stays on the host
until the guest has memory for it.
"""

from __future__ import annotations

from pvefi.efi.environment import Environment
from pvefi.efi.errors import EfiError
from pvefi.efi.service import BOOLEAN, UINTN, InOut, Pointer, service
from pvefi.spec.uefi import device_path, guids
from pvefi.spec.uefi.protocols import LoadFile2Protocol
from pvefi.spec.uefi.status import EfiStatus

__all__ = ["install"]


def install(efi: Environment) -> None:
    """Offer the initial ramdisk, where there is one and the profile offers the protocol."""
    if efi.initrd is None or guids.LOAD_FILE2_PROTOCOL not in efi.profile.protocols:
        return
    path = device_path.vendor_media(guids.LINUX_INITRD_MEDIA) + device_path.END
    interface = LoadFile2Protocol(load_file=efi.gates.address(load_file))
    place = efi.boot_arena.place
    efi.offer(
        0,
        (guids.DEVICE_PATH_PROTOCOL, place("initrd device path", path)),
        (guids.LOAD_FILE2_PROTOCOL, place("EFI_LOAD_FILE2_PROTOCOL", interface.pack())),
    )


@service("EFI_LOAD_FILE2_PROTOCOL.LoadFile", "UEFI 2.10 §13.2.2")
def load_file(
    efi: Environment,
    this: Pointer,
    file_path: Pointer,
    boot_policy: BOOLEAN,
    buffer_size: InOut[UINTN],
    buffer: Pointer,
) -> None:
    """Give the initial ramdisk, or its size.

    UNSUPPORTED: `boot_policy` is TRUE. INVALID_PARAMETER: `file_path` or `buffer_size` is NULL.
    BUFFER_TOO_SMALL: `buffer` is NULL or too small; `buffer_size` then holds the size.
    """
    # UEFI 2.10 §13.2.2: BootPolicy "must be FALSE"; only LoadFile knows boot selections.
    if boot_policy:
        raise EfiError(EfiStatus.UNSUPPORTED, "BootPolicy is TRUE")
    if not file_path:
        raise EfiError(EfiStatus.INVALID_PARAMETER, "FilePath is NULL")
    initrd = efi.initrd
    assert initrd is not None, "the protocol is installed only with an initial ramdisk"
    given = buffer_size.get()
    buffer_size.set(len(initrd))
    if not buffer or given < len(initrd):
        raise EfiError(EfiStatus.BUFFER_TOO_SMALL, f"the initrd takes {len(initrd)} bytes, given {given}")
    efi.memory.write(buffer, initrd)
