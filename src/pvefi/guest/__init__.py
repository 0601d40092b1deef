# SPDX-License-Identifier: GPL-2.0-or-later
"""What stands in the guest: the trampoline and the gates, as one small ELF built from `trampoline.S`."""

from pvefi.guest.trampoline import Trampoline, TrampolineSegment, load_trampoline

__all__ = ["Trampoline", "TrampolineSegment", "load_trampoline"]
