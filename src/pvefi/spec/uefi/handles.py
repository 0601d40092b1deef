# SPDX-License-Identifier: GPL-2.0-or-later
"""What the protocol handler services speak of — UEFI 2.10 §7.3."""

from __future__ import annotations

from enum import IntFlag

from pvefi.layout import U32, U64, OpenEnum, Structure, layout

__all__ = [
    "EFI_NATIVE_INTERFACE",
    "LocateSearchType",
    "OpenProtocolAttributes",
    "OpenProtocolInformationEntry",
]

EFI_NATIVE_INTERFACE = 0  # EFI_INTERFACE_TYPE, UEFI 2.10 §7.3.2: its only member


class LocateSearchType(OpenEnum):
    """EFI_LOCATE_SEARCH_TYPE — UEFI 2.10 §7.3.6."""

    ALL_HANDLES = 0
    BY_REGISTER_NOTIFY = 1
    BY_PROTOCOL = 2


class OpenProtocolAttributes(IntFlag):
    """EFI_OPEN_PROTOCOL_* — UEFI 2.10 §7.3.9."""

    BY_HANDLE_PROTOCOL = 0x01
    GET_PROTOCOL = 0x02
    TEST_PROTOCOL = 0x04
    BY_CHILD_CONTROLLER = 0x08
    BY_DRIVER = 0x10
    EXCLUSIVE = 0x20


@layout(size=24)
class OpenProtocolInformationEntry(Structure):
    """EFI_OPEN_PROTOCOL_INFORMATION_ENTRY — UEFI 2.10 §7.3.11."""

    agent_handle: U64
    controller_handle: U64
    attributes: U32
    open_count: U32
