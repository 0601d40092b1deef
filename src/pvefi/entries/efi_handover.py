# SPDX-License-Identifier: GPL-2.0-or-later
"""The 64-bit EFI handover entry: the boot loader gives the zero page, the stub does the rest.

State demanded, Linux boot.rst "EFI Handover Protocol": as for the EFI entry, but rdi = the image's handle,
rsi = the system table, rdx = boot_params, and the entry at handover_offset + 512 from the start of the loaded
kernel. boot_params holds command line and initrd, and the image's setup header, as GRUB copies it: older
stubs read init_size, pref_address and kernel_alignment there. e820 and the ACPI root are the stub's to find.
"""

from __future__ import annotations

from pvefi.efi.environment import Environment
from pvefi.efi.images import load
from pvefi.efi.service import Steps
from pvefi.entries.efi import source_of, tell_by_efi, wanted_memory
from pvefi.entries.enter import enter_image
from pvefi.entries.entry import BootInfo, Entry, EntryRequest
from pvefi.entries.linux_boot import LoadedKernel, bzimage_of, check, zero_page
from pvefi.errors import ImageError
from pvefi.guest.entry_state import EntryState
from pvefi.image import EntryKind
from pvefi.verdict import Verdict

__all__ = ["ENTRY"]

_HANDOVER_64 = 512  # Linux boot.rst "handover_offset": where the 64-bit entry is, past the 32-bit one
_FIRMWARE_CS, _FIRMWARE_DS = 0x38, 0x30  # the trampoline's segments, as for the EFI entry


def _enter(efi: Environment, request: EntryRequest, information: int) -> Steps[Verdict]:
    """Load the image, fill in a zero page, and jump to the handover entry."""
    bzimage = bzimage_of(request)
    loaded = load(efi, source_of(request, efi.start.command_line))
    tell_by_efi(efi, request, loaded.handle, information)
    assert request.image.pe is not None, "the handover entry is one of a PE image"
    rva = request.image.pe.rva(bzimage.protected_mode_offset)
    if rva is None:
        raise ImageError(
            request.image.path,
            bzimage.protected_mode_offset,
            "a section with the protected-mode kernel",
            "none",
        )
    kernel = LoadedKernel(loaded.base + rva, bzimage)
    params = zero_page(efi, kernel, request, information, machine=False)
    state = EntryState(
        rdi=loaded.handle,
        rsi=efi.tables.system_table,
        rdx=params,
        # A function finds its return address at rsp, 8 below a 16-byte boundary; 0 there faults by name.
        rsp=efi.trampoline.symbols["stack_top"] - 8,
        rip=kernel.address + bzimage.header.handover_offset + _HANDOVER_64,
        code_selector=_FIRMWARE_CS,
        data_selector=_FIRMWARE_DS,
        bits=64,
        gdt_limit=efi.trampoline.gdt_limit,
        gdt_base=efi.trampoline.symbols["gdt"],
    )
    return enter_image(efi, state, 0, tag=loaded.handle)


ENTRY = Entry(
    EntryKind.EFI_HANDOVER,
    64,
    _enter,
    wanted_memory,
    (BootInfo.TABLE, BootInfo.SETUP_DATA, BootInfo.NONE),
    check,
)
