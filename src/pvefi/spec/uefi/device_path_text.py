# SPDX-License-Identifier: GPL-2.0-or-later
"""Device paths as text — UEFI 2.10 §10.6, in the words of edk2 MdePkg/Library/UefiDevicePathLib."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from pvefi.spec.uefi.device_nodes import acpi, hardware, media, messaging, network, usb
from pvefi.spec.uefi.device_nodes.spelling import Spelling
from pvefi.spec.uefi.device_path import DevicePathType, Node, nodes

__all__ = ["text"]

_SPELLINGS: Mapping[int, Mapping[int, Spelling]] = MappingProxyType(
    {
        DevicePathType.HARDWARE: hardware.SPELLINGS,
        DevicePathType.ACPI: acpi.SPELLINGS,
        DevicePathType.MESSAGING: {**messaging.SPELLINGS, **usb.SPELLINGS, **network.SPELLINGS},
        DevicePathType.MEDIA: media.SPELLINGS,
        DevicePathType.BBS: media.BBS_SPELLINGS,
    }
)
# UEFI 2.10 §10.6.1.5: the generic forms, for nodes of any subtype.
_GENERIC: Mapping[int, str] = MappingProxyType(
    {
        DevicePathType.HARDWARE: "HardwarePath",
        DevicePathType.ACPI: "AcpiPath",
        DevicePathType.MESSAGING: "Msg",
        DevicePathType.MEDIA: "MediaPath",
        DevicePathType.BBS: "BbsPath",
    }
)


def text(data: bytes) -> str:
    """Return the device path in text form; DevicePathError when it is none.

    A node of an unknown kind, or with data of another form than its kind has, is spelled as hexadecimal
    bytes.
    """
    parts: list[str] = []
    for node in nodes(data):
        if node.is_end:
            break
        if node.type == DevicePathType.END:
            parts.append(",")
        else:
            parts.append(f"/{_node_text(node)}" if parts and parts[-1] != "," else _node_text(node))
    return "".join(parts)


def _node_text(node: Node) -> str:
    spelling = _SPELLINGS.get(node.type, {}).get(node.subtype)
    spelled = spelling(node.data) if spelling else None
    if spelled is not None:
        return spelled
    rest = f",{node.data.hex()}" if node.data else ""
    if node.type in _GENERIC:
        return f"{_GENERIC[node.type]}({node.subtype}{rest})"
    return f"Path({int(node.type)},{node.subtype}{rest})"
