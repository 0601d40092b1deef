# SPDX-License-Identifier: GPL-2.0-or-later
"""Capsules, by which an operating system hands something to the firmware — UEFI 2.10 §8.5.3."""

from __future__ import annotations

from enum import IntFlag

from pvefi.layout import U32, Guid, Structure, layout

__all__ = ["CapsuleFlag", "CapsuleHeader"]


class CapsuleFlag(IntFlag):
    """CAPSULE_FLAGS_* — UEFI 2.10 §8.5.3; the lower 16 bits are for each kind of capsule to define."""

    PERSIST_ACROSS_RESET = 0x00010000
    POPULATE_SYSTEM_TABLE = 0x00020000
    INITIATE_RESET = 0x00040000


@layout(size=28)
class CapsuleHeader(Structure):
    """EFI_CAPSULE_HEADER — UEFI 2.10 §8.5.3; `capsule_image_size` counts the header too."""

    capsule_guid: Guid
    header_size: U32
    flags: U32
    capsule_image_size: U32
