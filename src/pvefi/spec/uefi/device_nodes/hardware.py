# SPDX-License-Identifier: GPL-2.0-or-later
"""Hardware nodes of device paths — UEFI 2.10 §10.3.2."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from pvefi.layout import U8, U32, U64, Guid, OpenEnum, Structure, layout
from pvefi.spec.uefi.device_nodes.spelling import Spelling, whole

__all__ = ["SPELLINGS", "HardwareSubtype", "MemoryMappedNode", "vendor"]


class HardwareSubtype(OpenEnum):
    """Subtypes of hardware nodes — UEFI 2.10 §10.3.2."""

    PCI = 1
    PC_CARD = 2
    MEMORY_MAPPED = 3
    VENDOR = 4
    CONTROLLER = 5
    BMC = 6


@layout(size=2)
class PciNode(Structure):
    """PCI device path — UEFI 2.10 §10.3.2.1."""

    function: U8
    device: U8


@layout(size=1)
class PcCardNode(Structure):
    """PCCARD device path — UEFI 2.10 §10.3.2.2."""

    function: U8


@layout(size=20)
class MemoryMappedNode(Structure):
    """What follows the header of a memory mapped node — UEFI 2.10 §10.3.2.3; the end is inclusive."""

    memory_type: U32
    start_address: U64
    end_address: U64


@layout(size=4)
class ControllerNode(Structure):
    """Controller device path — UEFI 2.10 §10.3.2.5."""

    number: U32


@layout(size=9)
class BmcNode(Structure):
    """BMC device path — UEFI 2.10 §10.3.2.6."""

    interface: U8
    base_address: U64


def vendor(word: str) -> Spelling:
    """Return the spelling of vendor-defined nodes: a GUID, then what the vendor likes."""

    def spelled(data: bytes) -> str | None:
        if len(data) < Guid.SIZE:
            return None
        rest = data[Guid.SIZE :].hex()
        return f"{word}({Guid(data[: Guid.SIZE])}{',' if rest else ''}{rest})"

    return spelled


SPELLINGS: Mapping[int, Spelling] = MappingProxyType(
    {
        HardwareSubtype.PCI: whole(PciNode, lambda node: f"Pci({node.device:#x},{node.function:#x})"),
        HardwareSubtype.PC_CARD: whole(PcCardNode, lambda node: f"PcCard({node.function:#x})"),
        HardwareSubtype.MEMORY_MAPPED: whole(
            MemoryMappedNode,
            lambda node: f"MemoryMapped({node.memory_type:#x},{node.start_address:#x},{node.end_address:#x})",
        ),
        HardwareSubtype.VENDOR: vendor("VenHw"),
        HardwareSubtype.CONTROLLER: whole(ControllerNode, lambda node: f"Ctrl({node.number:#x})"),
        HardwareSubtype.BMC: whole(BmcNode, lambda node: f"BMC({node.interface:#x},{node.base_address:#x})"),
    }
)
