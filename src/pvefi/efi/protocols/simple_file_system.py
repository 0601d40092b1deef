# SPDX-License-Identifier: GPL-2.0-or-later
"""EFI_SIMPLE_FILE_SYSTEM_PROTOCOL — UEFI 2.10 §13.4: a directory of the host as a volume, to be read."""

from __future__ import annotations

from pvefi.efi.environment import Environment
from pvefi.efi.protocols.file import refused, use
from pvefi.efi.service import Out, Pointer, service
from pvefi.efi.volume import Volume
from pvefi.spec.uefi import guids
from pvefi.spec.uefi.files import SIMPLE_FILE_SYSTEM_PROTOCOL_REVISION, SimpleFileSystemProtocol

__all__ = ["install"]


def install(efi: Environment, device: int) -> None:
    """Put the volume on the handle of the device that images come from, where there is a volume."""
    directory = efi.surroundings.directory
    if directory is None or guids.SIMPLE_FILE_SYSTEM_PROTOCOL not in efi.profile.protocols:
        return
    directory.close_files()  # those of the boot before, where the guest was reset
    efi.volume = Volume(directory)
    interface = SimpleFileSystemProtocol(
        revision=SIMPLE_FILE_SYSTEM_PROTOCOL_REVISION, open_volume=efi.gates.address(open_volume)
    )
    address = efi.boot_arena.place("EFI_SIMPLE_FILE_SYSTEM_PROTOCOL", interface.pack())
    efi.handles.install(device, guids.SIMPLE_FILE_SYSTEM_PROTOCOL, address)


@service("EFI_SIMPLE_FILE_SYSTEM_PROTOCOL.OpenVolume", "UEFI 2.10 §13.4.2")
def open_volume(efi: Environment, this: Pointer, root: Out[Pointer]) -> None:
    """Open the volume's root directory.

    INVALID_PARAMETER: `root` is NULL. OUT_OF_RESOURCES: too many files are open. ACCESS_DENIED, DEVICE_ERROR:
    the host refuses.
    """
    assert efi.volume is not None, "the protocol is installed only with a volume"
    try:
        root.set(use(efi, efi.volume, efi.volume.open(())))
    except OSError as error:
        raise refused(error) from error
