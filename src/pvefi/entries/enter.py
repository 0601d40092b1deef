# SPDX-License-Identifier: GPL-2.0-or-later
"""Jumps into an image in a CPU state of its own; nothing returns from there."""

from __future__ import annotations

from pvefi.efi.environment import Environment
from pvefi.efi.service import Steps
from pvefi.efi.settle import settle
from pvefi.guest.entry_state import EntryState
from pvefi.guest.mailbox import Enter
from pvefi.verdict import Verdict

__all__ = ["BOOT_CS", "BOOT_DS", "CODE32", "CODE64", "DATA", "enter_image"]

# Linux boot.rst "32-bit Boot Protocol": the selectors that a kernel expects.
BOOT_CS = 0x10
BOOT_DS = 0x18

# Flat segments of 4 GiB, present, accessed — Intel SDM vol. 3A §3.4.5.
CODE32 = 0x00CF9B000000FFFF
CODE64 = 0x00AF9B000000FFFF
DATA = 0x00CF93000000FFFF


def enter_image(efi: Environment, state: EntryState, kernel: int, *, tag: int = 0) -> Steps[Verdict]:
    """Let the guest take `state`.

    `kernel` is the guest physical address of the loaded kernel, 0 where it is known only later. `tag` is
    the image's handle where it has one, by which Exit() is told that it leaves this image.
    """
    yield from settle(efi)
    if kernel:
        efi.surroundings.kernel_may_start((kernel,))
    efi.surroundings.image_starts(state.rip)
    address = efi.boot_arena.place("entry state", state.pack())
    yield Enter(address, efi.trampoline.symbols["enter"], tag)
    raise AssertionError("unreachable: an image that was entered does not return")
