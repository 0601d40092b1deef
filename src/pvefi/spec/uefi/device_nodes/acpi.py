# SPDX-License-Identifier: GPL-2.0-or-later
"""ACPI nodes of device paths — UEFI 2.10 §10.3.3."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from types import MappingProxyType

from pvefi.layout import U32, Structure, layout
from pvefi.spec.uefi.device_nodes.spelling import Spelling, ascii_text, begins, whole

__all__ = ["SPELLINGS"]

_DEVICE = 1  # subtypes
_EXPANDED = 2
_ADR = 3
_PNP = 0x41D0  # "PNP" as a compressed EISA identifier
# UEFI 2.10 §10.6.1.6
_PNP_NAMES = {
    0x0301: "Keyboard",
    0x0401: "ParallelPort",
    0x0501: "Serial",
    0x0604: "Floppy",
    0x0A03: "PciRoot",
    0x0A08: "PcieRoot",
}


@layout(size=8)
class AcpiNode(Structure):
    """ACPI device path: _HID and _UID — UEFI 2.10 §10.3.3."""

    hid: U32
    uid: U32


@layout(size=12)
class ExpandedNode(Structure):
    """Expanded ACPI device path; _HID, _UID and _CID as strings follow — UEFI 2.10 §10.3.3."""

    hid: U32
    uid: U32
    cid: U32


def _device(node: AcpiNode) -> str:
    if node.hid & 0xFFFF != _PNP:
        return f"Acpi({node.hid:#010x},{node.uid:#x})"
    number = node.hid >> 16
    if number in _PNP_NAMES:
        return f"{_PNP_NAMES[number]}({node.uid:#x})"
    return f"Acpi(PNP{number:04X},{node.uid:#x})"


def _expanded(node: ExpandedNode, rest: bytes) -> str | None:
    strings = rest.split(b"\0")
    if len(strings) != 4 or strings.pop():  # three strings, each with its NUL
        return None
    hid, uid, cid = map(ascii_text, strings)
    if uid and not hid and not cid:
        return f"AcpiExp({_eisa(node.hid)},{_eisa(node.cid) if node.cid else '0'},{uid})"
    return f"AcpiEx({_eisa(node.hid)},{_eisa(node.cid)},{node.uid:#x},{hid},{cid},{uid})"


def _eisa(number: int) -> str:
    """Return a compressed EISA identifier as text — ACPI 6.5 §19.3.4."""
    if number == 0:
        return "0"
    letters = "".join(chr((number >> shift & 0x1F) + ord("A") - 1) for shift in (10, 5, 0))
    return f"{letters}{number >> 16:04X}"


def _addresses(data: bytes) -> str | None:
    """Return the _ADRs of displays — UEFI 2.10 §10.3.3.1."""
    if not data or len(data) % 4:
        return None
    return f"AcpiAdr({','.join(f'{address:#x}' for (address,) in struct.iter_unpack('<I', data))})"


SPELLINGS: Mapping[int, Spelling] = MappingProxyType(
    {_DEVICE: whole(AcpiNode, _device), _EXPANDED: begins(ExpandedNode, _expanded), _ADR: _addresses}
)
