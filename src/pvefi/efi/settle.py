# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes a CPU forget what it knows of code that the host has replaced.

An emulator translates code when it first runs and sees what the guest writes over it, not what the host does.
After a reset any memory may have held code, so there the guest stores an image once more, over itself.
"""

from __future__ import annotations

from pvefi.efi.environment import Environment
from pvefi.efi.service import Steps
from pvefi.guest.mailbox import Copy
from pvefi.spec.uefi.memory import MemoryType

__all__ = ["settle"]


def settle(efi: Environment) -> Steps[None]:
    """Make sure that all loaded images run as the host has just written them."""
    if efi.restarted:
        for span in efi.pages.spans:
            if span.type == MemoryType.LOADER_CODE:
                yield Copy(span.start, span.start, span.end - span.start)
