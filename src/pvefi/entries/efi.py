# SPDX-License-Identifier: GPL-2.0-or-later
"""The EFI entry: AddressOfEntryPoint of a PE image, reached from the PVH entry by one upcall.

State demanded, UEFI 2.10 §2.3.4: long mode, interrupts as firmware has them, all memory mapped one to one,
128 KiB of stack, rcx = the image's handle, rdx = the system table. The trampoline gives the CPU's part, this
module the rest.
"""

from __future__ import annotations

from pvefi.efi.environment import Environment
from pvefi.efi.images import ImageSource, load
from pvefi.efi.protocols import hypervisor_information
from pvefi.efi.service import Steps
from pvefi.guest.mailbox import Upcall
from pvefi.image import Image
from pvefi.memory import NamedRange
from pvefi.spec.uefi.status import EfiStatus
from pvefi.verdict import Outcome, Verdict

__all__ = ["enter", "source_of"]


def source_of(image: Image, data: bytes, load_options: str) -> ImageSource:
    """Return what the loader needs of `image`, whose file is `data` and which has a PE header."""
    assert image.pe is not None, "an image without a PE header has no EFI entry"
    wish = None
    if image.bzimage is not None:
        header = image.bzimage.header
        wish = NamedRange("the kernel's preferred address", header.pref_address, header.init_size)
    return ImageSource(image.path.name, image.pe, data, load_options, wish)


def enter(efi: Environment, source: ImageSource, information: int) -> Steps[Verdict]:
    """Load the image, start it, and return the verdict of its end.

    `information` is the guest physical address of the hypervisor information.
    """
    loaded = load(efi, source)
    hypervisor_information.install_protocol(efi, loaded.handle, information)
    efi.surroundings.image_starts(loaded.entry_point)
    returned = yield Upcall(loaded.entry_point, (loaded.handle, efi.tables.system_table), tag=loaded.handle)
    status = EfiStatus(returned)
    return Verdict(Outcome.EXITED, f"{source.name} ended with {status.efi_name}", status)
