# SPDX-License-Identifier: GPL-2.0-or-later
"""The EFI entry: AddressOfEntryPoint of a PE image, reached from the PVH entry by one upcall.

State demanded, UEFI 2.10 §2.3.4: long mode, all memory mapped one to one, 128 KiB of stack, rcx = the image's
handle, rdx = the system table. The trampoline gives the CPU's part, this module the rest.
"""

from __future__ import annotations

from pvefi.efi.environment import Environment
from pvefi.efi.images import ImageSource, load
from pvefi.efi.protocols import hypervisor_information
from pvefi.efi.service import Steps
from pvefi.efi.settle import settle
from pvefi.entries.entry import BootInfo, Entry, EntryRequest
from pvefi.guest.mailbox import Upcall
from pvefi.image import EntryKind
from pvefi.memory import NamedRange
from pvefi.spec.uefi.guids import PVEFI_HYPERVISOR_INFORMATION
from pvefi.spec.uefi.status import EfiStatus
from pvefi.verdict import Outcome, Verdict

__all__ = ["ENTRY", "enter", "source_of", "tell_by_efi", "wanted_memory"]


def source_of(request: EntryRequest, machine_command_line: str = "") -> ImageSource:
    """Return what the loader needs of an image that has a PE header.

    `machine_command_line` is hvm_start_info's, for when the user gave none.
    """
    image = request.image
    assert image.pe is not None, "an image without a PE header has no EFI entry"
    options = request.command_line or machine_command_line
    wish = None
    if image.bzimage is not None:
        header = image.bzimage.header
        wish = NamedRange("the kernel's preferred address", header.pref_address, header.init_size)
    return ImageSource(image.path.name, image.pe, request.data, options, wish, request.file_path)


def wanted_memory(request: EntryRequest) -> int:
    """Return the bytes of memory with which the image, and what it will ask for, have room."""
    return source_of(request).wanted_memory


def enter(efi: Environment, request: EntryRequest, information: int) -> Steps[Verdict]:
    """Load the image, start it, and return the verdict of its end."""
    source = source_of(request, efi.start.command_line)
    loaded = load(efi, source)
    tell_by_efi(efi, request, loaded.handle, information)
    yield from settle(efi)
    efi.surroundings.image_starts(loaded.entry_point)
    returned = yield Upcall(loaded.entry_point, (loaded.handle, efi.tables.system_table), tag=loaded.handle)
    status = EfiStatus(returned)
    return Verdict(Outcome.EXITED, f"{source.name} ended with {status.efi_name}", status)


def tell_by_efi(efi: Environment, request: EntryRequest, handle: int, information: int) -> None:
    """Offer the hypervisor information as table and protocol; take it out where it goes another way."""
    if request.boot_info is BootInfo.TABLE:
        hypervisor_information.install_protocol(efi, handle, information)
    else:
        efi.tables.install_configuration_table(PVEFI_HYPERVISOR_INFORMATION, 0)


ENTRY = Entry(EntryKind.EFI, 64, enter, wanted_memory, (BootInfo.TABLE, BootInfo.NONE), initrd_by_efi=True)
