# SPDX-License-Identifier: GPL-2.0-or-later
"""Resetting the guest, and switching it off — UEFI 2.10 §8.5.1."""

from __future__ import annotations

from pvefi.efi.environment import Environment
from pvefi.efi.errors import EfiError
from pvefi.efi.service import CHAR16_LIMIT, UINTN, EndRun, Pointer, read_char16, service
from pvefi.efi.varstore.store import name_size
from pvefi.layout import Guid
from pvefi.spec.uefi.guids import guid_name
from pvefi.spec.uefi.reset import RESET_TYPE, ResetType
from pvefi.spec.uefi.status import EFI_STATUS, EfiStatus
from pvefi.trace.events import cut
from pvefi.trace.spelling import member_name, quoted
from pvefi.verdict import Outcome, Verdict

__all__ = ["reset_system"]


@service("ResetSystem", "UEFI 2.10 §8.5.1", returns_status=False)
def reset_system(
    efi: Environment,
    reset_type: RESET_TYPE,
    reset_status: EFI_STATUS,
    data_size: UINTN,
    reset_data: Pointer,
) -> EndRun:
    """Reset the guest or switch it off; does not return, but for a kind of reset that there is not."""
    if not reset_type.known:
        raise EfiError(EfiStatus.INVALID_PARAMETER, f"{int(reset_type):#x} is no kind of reset")
    message = f"the guest called ResetSystem({member_name(reset_type)}) with {reset_status.efi_name}"
    if data_size and reset_data:
        message += _data(efi, reset_type, data_size, reset_data)
    # A platform specific reset that the platform does not know is to be one of the others: a cold one.
    outcome = Outcome.POWERED_OFF if reset_type is ResetType.SHUTDOWN else Outcome.REBOOTED
    return EndRun(Verdict(outcome, message, reset_status))


def _data(efi: Environment, kind: ResetType, size: int, address: int) -> str:
    """Return what the reset's data says: a string, and behind it which platform specific reset is meant.

    '' when no string ends in it: the reset matters more.
    """
    try:
        text = read_char16(efi.memory, address, min(size // 2, CHAR16_LIMIT))
    except EfiError:
        return ""
    said = f": {quoted(cut(text), CHAR16_LIMIT)}" if text else ""
    end = name_size(text)
    if kind is ResetType.PLATFORM_SPECIFIC and end + Guid.SIZE <= size:
        said += f", {guid_name(Guid(efi.memory.read(address + end, Guid.SIZE)))}"
    return said
