# SPDX-License-Identifier: GPL-2.0-or-later
"""After a reset the guest stores loaded images once more, over themselves."""

from __future__ import annotations

from pvefi.efi.settle import settle
from pvefi.guest.mailbox import Copy
from pvefi.spec.uefi.memory import MemoryType
from tests.efi.boot.guest import FakeGuest


def test_at_the_first_boot_nothing_has_run_that_could_be_stale() -> None:
    efi = FakeGuest("linux").efi
    efi.pages.reserve(0x500000, 0x3000, MemoryType.LOADER_CODE, "image")
    assert list(settle(efi)) == []


def test_after_a_reset_all_code_is_copied_over_itself_and_nothing_else() -> None:
    efi = FakeGuest("linux").efi
    efi.restarted = True
    efi.pages.reserve(0x500000, 0x3000, MemoryType.LOADER_CODE, "image")
    efi.pages.reserve(0x600000, 0x1000, MemoryType.LOADER_DATA, "data")
    efi.pages.reserve(0x700000, 0x1000, MemoryType.LOADER_CODE, "driver")
    assert list(settle(efi)) == [Copy(0x500000, 0x500000, 0x3000), Copy(0x700000, 0x700000, 0x1000)]
