# SPDX-License-Identifier: GPL-2.0-or-later
"""USB nodes of device paths — UEFI 2.10 §10.3.4.5 and §10.3.4.7."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from pvefi.layout import U8, U16, OpenEnum, Structure, layout
from pvefi.spec.uefi.device_nodes.spelling import Spelling, begins, utf16_text, whole

__all__ = ["SPELLINGS", "UsbSubtype"]


class UsbSubtype(OpenEnum):
    """Subtypes of messaging nodes for USB — UEFI 2.10 §10.3.4."""

    PORT = 5
    CLASS = 15
    WWID = 16


@layout(size=2)
class UsbNode(Structure):
    """USB — UEFI 2.10 §10.3.4.5."""

    port: U8
    interface: U8


@layout(size=7)
class UsbClassNode(Structure):
    """USB class — UEFI 2.10 §10.3.4.5."""

    vendor: U16
    product: U16
    device_class: U8
    subclass: U8
    protocol: U8


@layout(size=6)
class UsbWwidNode(Structure):
    """USB WWID; the end of the serial number follows, in UTF-16 — UEFI 2.10 §10.3.4.7."""

    interface: U16
    vendor: U16
    product: U16


# UEFI 2.10 §10.6.1.6: classes, and subclasses of the class that is for all else, that have a name.
_CLASSES = {
    1: "UsbAudio",
    2: "UsbCDCControl",
    3: "UsbHID",
    6: "UsbImage",
    7: "UsbPrinter",
    8: "UsbMassStorage",
    9: "UsbHub",
    10: "UsbCDCData",
    11: "UsbSmartCard",
    14: "UsbVideo",
    220: "UsbDiagnostic",
    224: "UsbWireless",
}
_APPLICATION = 254
_APPLICATIONS = {1: "UsbDeviceFirmwareUpdate", 2: "UsbIrdaBridge", 3: "UsbTestAndMeasurement"}


def _class(node: UsbClassNode) -> str:
    device, protocol = f"{node.vendor:#x},{node.product:#x}", f"{node.protocol:#x}"
    if node.device_class in _CLASSES:
        return f"{_CLASSES[node.device_class]}({device},{node.subclass:#x},{protocol})"
    if node.device_class == _APPLICATION and node.subclass in _APPLICATIONS:
        return f"{_APPLICATIONS[node.subclass]}({device},{protocol})"
    return f"UsbClass({device},{node.device_class:#x},{node.subclass:#x},{protocol})"


def _wwid(node: UsbWwidNode, serial: bytes) -> str | None:
    if len(serial) % 2:
        return None
    return f'UsbWwid({node.vendor:#x},{node.product:#x},{node.interface:#x},"{utf16_text(serial)}")'


SPELLINGS: Mapping[int, Spelling] = MappingProxyType(
    {
        UsbSubtype.PORT: whole(UsbNode, lambda node: f"USB({node.port:#x},{node.interface:#x})"),
        UsbSubtype.CLASS: whole(UsbClassNode, _class),
        UsbSubtype.WWID: begins(UsbWwidNode, _wwid),
    }
)
